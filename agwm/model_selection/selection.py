"""Model selection: try the candidates on folds, compare them, and choose one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agwm._version import __version__
from agwm.data import TaskData
from agwm.data.summary import texts_of
from agwm.durations import duration
from agwm.model_selection.candidates import CONSTANT
from agwm.model_selection.cells import FoldCell, TrialCell, TrialsRecord
from agwm.model_selection.options import FitOptions
from agwm.model_selection.plan import Plan
from agwm.model_selection.preparation import Prepared
from agwm.model_selection.progress import Progress
from agwm.model_selection.record import CandidateRow, FoldRecord
from agwm.model_selection.schedule import Schedule
from agwm.model_selection.store import Store, key_of
from agwm.model_selection.table import make_rows
from agwm.model_selection.timing import seconds_per_pass
from agwm.recipe.config import plain_dict

__all__ = ["Selection", "select", "store_of"]

Say = Callable[[str], None]
# Options that change no outcome of a cell, or stand in the cell itself.
_NOT_IN_KEY = ("methods", "budget", "seeds", "jobs", "learning_rate", "epochs", "seed")


@dataclass(frozen=True)
class Selection:
    """Outcome of the cross-validation.

    Attributes:
        rows: The table, the best first.
        folds: Records of all candidates on all folds.
        seconds: Name of a stage -> wall time.
    """

    rows: list[CandidateRow]
    folds: list[FoldRecord]
    seconds: dict[str, float]

    @property
    def chosen(self) -> str:
        """Name of the chosen candidate; the constant answer if nothing has learned."""
        return next((row.name for row in self.rows if row.verdict == "chosen"), CONSTANT)

    def of(self, name: str) -> list[FoldRecord]:
        """Return the records of a candidate."""
        return [record for record in self.folds if record.candidate == name]


def select(prepared: Prepared, store: Store, notice: Say, report: Say, progress: bool | None) -> Selection:
    """Run all cells that are not finished yet, and compare the candidates.

    Args:
        prepared: Rows, candidates and folds.
        store: Where finished cells are kept.
        notice: Called with a line on the time that it will take.
        report: Called with a line on each candidate and fold that is done.
        progress: True to show the bar; None: on a terminal; elsewhere a line a minute tells the same.

    Raises:
        AgwmError: If something is wrong with the input, or another process works in the folder.
    """
    plan, material = prepared.plan, prepared.material
    with store.held():
        trial_cells = plan.trial_cells()
        kept: dict[str, Any] = {cell.name: store.find(cell) for cell in trial_cells}
        num_other = store.num_other  # records of folds may wait for their trials
        known = {name: record or TrialsRecord(([], []), 0.0, 0.0) for name, record in kept.items()}
        fold_cells = plan.fold_cells(known, material.task.metric)
        kept |= {cell.name: store.find(cell) for cell in fold_cells}
        cells: list[TrialCell | FoldCell] = [*trial_cells, *fold_cells]
        passes = {cell.name: plan.passes(cell) for cell in cells}
        total = sum(passes.values())
        finished = sum(count for name, count in passes.items() if kept[name] is not None)
        notice(_time_line(prepared, total, finished, num_other))
        with Progress(total, finished, progress, notice) as bar:
            schedule = Schedule(material, store, prepared.jobs, plan.passes, bar)
            start = time.perf_counter()
            bar.stage("choosing settings")
            trials = schedule.run(trial_cells)
            middle = time.perf_counter()
            bar.stage("cross-validation")
            schedule.done = _teller(plan, report)
            found = schedule.run(plan.fold_cells(trials, material.task.metric))
        seconds = {"trials": middle - start, "folds": time.perf_counter() - middle}
    of_candidates: dict[str, list[TrialsRecord]] = {}
    for cell in trial_cells:
        of_candidates.setdefault(cell.candidate, []).append(trials[cell.name])
    folds = sorted(
        found.values(), key=lambda one: (plan.candidates.index(one.candidate), one.repeat, one.fold)
    )
    return Selection(make_rows(material, folds, of_candidates), folds, seconds)


def store_of(prepared: Prepared, output_dir: Path | None) -> Store:
    """Return the store of a selection.

    Args:
        prepared: Rows and options.
        output_dir: The output folder; None: nothing is kept.
    """
    material = prepared.material
    return Store(output_dir, _key(prepared.data, material.options, material.max_length))


def _key(data: TaskData, options: FitOptions, max_length: int) -> str:
    values = {name: value for name, value in plain_dict(options).items() if name not in _NOT_IN_KEY}
    task = data.task
    kind = [task.label_names, task.metric, task.problem_type, task.positive_class]
    rows = [texts_of(data.train, task), list(data.train["label"])]
    return key_of(
        {"version": __version__, "options": values, "task": kind, "rows": rows, "cut": max_length}
    )


def _time_line(prepared: Prepared, total: float, finished: float, num_other: int) -> str:
    left = (total - finished) * seconds_per_pass(prepared.material, prepared.loaded) / prepared.jobs
    processes = "1 process" if prepared.jobs == 1 else f"{prepared.jobs} processes"
    done = f"{finished / total:.0%} is finished already; the rest" if finished else "This"
    other = ""
    if num_other:
        other = f" {num_other} kept results are of other rows or settings: they are made anew."
    return f"{done} takes about {duration(max(1.0, left))} in {processes}.{other}"


def _teller(plan: Plan, report: Say) -> Callable[[Any, Any], None]:
    """Return a function that says once how a candidate did on all folds, when its last one ends."""
    scores: dict[str, list[float | None]] = {}

    def tell(cell: Any, record: FoldRecord) -> None:
        own = scores.setdefault(record.candidate, [])
        own.append(record.score)
        if len(own) == len(plan.folds) and record.candidate != CONSTANT:
            known = [score for score in own if score is not None]
            mean = f"mean {sum(known) / len(known):.4f}" if known else "failed"
            report(f"{record.candidate}: {mean} over {len(known)} of {len(own)} folds.")

    return tell
