"""Write the plan of a grid: its cells, their passes, and an estimate of the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agwm.checks import check_value
from agwm.errors import AgwmError, DataError
from agwm.experiments.grid.cells import Cell
from agwm.experiments.grid.estimate import evaluation_passes, num_train, planned_passes
from agwm.experiments.grid.files import PassSeconds
from agwm.experiments.grid.planned_runs import check_folder
from agwm.experiments.grid.work import Work
from agwm.experiments.record import Record
from agwm.experiments.records import find_finished
from agwm.markdown import escape, table

__all__ = ["PassTime", "PlanRow", "pass_times", "plan_rows", "plan_summary", "plan_table"]


@dataclass(frozen=True)
class PlanRow:
    """Cells that differ only in the seed.

    Attributes:
        cell: The first of them.
        size: Number of training examples; None: all of a task whose size is not known.
        num_cells: Number of cells.
        num_finished: Those whose record is there and stays.
        num_other: Those with a record that the run will stop at: of other settings, or no record.
        passes: In training, of one cell; None where the size is not known.
        evaluation: Scoring on the test set, in passes, of one cell.
    """

    cell: Cell
    size: int | None
    num_cells: int
    num_finished: int
    num_other: int
    passes: float | None
    evaluation: float

    @property
    def model(self) -> str:
        """Name or folder of the model."""
        return self.cell.config.model

    @property
    def passes_left(self) -> float:
        """Passes of the unfinished cells, with scoring."""
        return (self.num_cells - self.num_finished) * ((self.passes or 0.0) + self.evaluation)


@dataclass(frozen=True)
class PassTime:
    """Seconds of a pass.

    Attributes:
        seconds: The time.
        source: Its origin, in words that follow "seconds a pass".
    """

    seconds: float
    source: str


def plan_rows(work: Work) -> list[PlanRow]:
    """Group cells by label, task, model and size, without loading data or models."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in work.cells:
        config = cell.config
        groups.setdefault((config.model, config.task, config.train_size, cell.label), []).append(cell)
    rows = []
    for group in groups.values():
        first = group[0]
        size = num_train(first.config)
        passes = None if size is None else planned_passes(first.config, first.method, size)
        evaluation = evaluation_passes(first.config) if work.scores_test else 0.0
        states = [] if work.override else [_state(cell, work) for cell in group]
        counts = (len(group), states.count("finished"), states.count("other"))
        rows.append(PlanRow(first, size, *counts, passes, evaluation))
    return rows


def _state(cell: Cell, work: Work) -> str:
    """Return "finished", "open", or, of a record with other settings, "other"; data are not compared."""
    try:
        record = find_finished(cell.path, work.stores.settings(cell), None)
    except AgwmError:
        return "other"
    if record is None or (work.retry_failed and record.failure is not None):
        return "open"
    return "finished"


def pass_times(
    rows: Iterable[PlanRow],
    cells: Sequence[Cell],
    assumed: Mapping[str, float],
    given: float | None = None,
) -> dict[str, PassTime]:
    """Return the time of a pass of each model: measured, else assumed.

    The value of the command line comes first, then what finished runs in the folder took, then what the
    grid file assumes. Without any of them a model is left out: nothing is made up.

    Args:
        rows: The result of :func:`plan_rows`.
        cells: Of them, and of runs beside them, the records are read.
        assumed: Model -> seconds, of the grid file; under ``""`` that of every other model.
        given: Seconds, of the command line.

    Raises:
        ConfigError: If the seconds of the command line are no finite number > 0.
    """
    if given is not None:
        check_value("--seconds-per-pass", PassSeconds, given)
    times: dict[str, PassTime] = {}
    measured = _measured_times(cells)
    for model in _models_of(rows):
        name = Path(model).name
        if given is not None:
            times[model] = PassTime(given, "as given by --seconds-per-pass")
        elif name in measured:
            times[model] = measured[name]
        elif model in assumed or "" in assumed:
            seconds = assumed.get(model, assumed.get("", 0.0))
            times[model] = PassTime(seconds, "an assumption of the grid file, not measured")
    return times


def _measured_times(cells: Sequence[Cell]) -> dict[str, PassTime]:
    """Return the mean time of a pass in finished runs, by the name of the model."""
    runs: dict[str, list[Record]] = {}
    with suppress(DataError):  # of a record that is going to be replaced
        for record in check_folder(cells).values():
            if record.train_info.passes > 0:
                runs.setdefault(record.model, []).append(record)
    times: dict[str, PassTime] = {}
    for model, records in runs.items():
        seconds = sum(record.train_info.total_seconds for record in records)
        passes = sum(record.train_info.passes for record in records)
        times[model] = PassTime(seconds / passes, f"measured in {len(records)} finished runs")
    return times


def _models_of(rows: Iterable[PlanRow]) -> list[str]:
    return list(dict.fromkeys(row.model for row in rows))


def plan_table(rows: Sequence[PlanRow], times: Mapping[str, PassTime]) -> str:
    """Write one line for each row."""
    head = ("method", "task", "model", "n", "cells", "finished", "passes a cell", "hours left")
    lines = [
        (
            escape(row.cell.label),
            escape(row.cell.config.task),
            escape(row.model),
            "all" if row.size is None else str(row.size),
            str(row.num_cells),
            str(row.num_finished),
            "?" if row.passes is None else f"{row.passes:.0f}",
            "?" if row.passes is None or row.model not in times else f"{_hours([row], times):.2f}",
        )
        for row in rows
    ]
    return table(head, lines, right=range(3, 8))


def plan_summary(rows: Sequence[PlanRow], times: Mapping[str, PassTime], jobs: int = 1) -> str:
    """Summarize the cells and passes that are left, and the hours of a device that they take.

    Args:
        rows: The result of :func:`plan_rows`.
        times: The result of :func:`pass_times`.
        jobs: Workers at once.
    """
    total = sum(row.num_cells for row in rows)
    finished = sum(row.num_finished for row in rows)
    passes = sum(row.passes_left for row in rows)
    lines = [
        f"{total} cells, {finished} of them finished; {passes:.0f} passes left"
        " (a forward and backward pass of a batch; scoring on the test set counts as a third)."
    ]
    if num_other := sum(row.num_other for row in rows):
        lines.append(
            f"{num_other} of the records are of other settings, or no records: the run will stop at them."
            " Choose another --output-dir, or pass --override."
        )
    if times:
        hours = _hours(rows, times)
        split = f"; {hours / jobs:.1f} on {jobs} workers if none slows another" if jobs > 1 else ""
        lines.append(f"Estimated time: {hours:.1f} hours of one device{split}, with")
        lines += [f"  {model}: {time.seconds:.3g} s a pass, {time.source}" for model, time in times.items()]
    if missing := [model for model in _models_of(rows) if model not in times]:
        lines.append(
            f"No estimate of the time for {', '.join(missing)}: nothing is measured yet. Pass"
            " --seconds-per-pass, or write seconds_per_pass in the grid file."
        )
    if any(row.passes is None for row in rows):
        lines.append("Cells on all examples of own files are not counted: their number is not known yet.")
    return "\n".join(lines)


def _hours(rows: Iterable[PlanRow], times: Mapping[str, PassTime]) -> float:
    return sum(row.passes_left * times[row.model].seconds for row in rows if row.model in times) / 3600
