"""Choose one candidate of a tuning by its dev scores, and write the table of all."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import yaml

from agwm.data.sampling import SMALLEST_SAMPLE
from agwm.experiments.grid.cells import Cell
from agwm.experiments.grid.stores import Stores
from agwm.experiments.grid.tuning import Tuning
from agwm.experiments.record import Record
from agwm.experiments.records import find_finished
from agwm.experiments.refusals import Refusal, refusal_of
from agwm.experiments.reporting.spread import spread_text
from agwm.markdown import escape, table
from agwm.models.files import model_name
from agwm.nested import flat_settings

__all__ = ["Trial", "choose", "finished_records", "tuned_yaml", "tuning_table"]


@dataclass(frozen=True)
class Trial:
    """One candidate of a tuning: its settings, its runs and their dev scores.

    Attributes:
        label: Label of the method.
        number: Among the label's candidates, from 1.
        settings: As a grid file would hold them.
        records: Of its runs that have ended.
        refusals: Reasons of its runs that the method refuses, one a run.
        num_missing: Number of its runs still to be made.
    """

    label: str
    number: int
    settings: dict[str, Any]
    records: Sequence[Record]
    refusals: Sequence[str]
    num_missing: int

    @property
    def scored(self) -> list[Record]:
        """Records with a dev score."""
        return [one for one in self.records if one.scores.dev is not None]

    @property
    def scores(self) -> list[list[float]]:
        """For each task, size and model the dev scores of the seeds that gave one."""
        found: dict[tuple[str, int, str], list[float]] = {}
        for one in self.scored:
            found.setdefault((one.task, one.train_size, one.model), []).append(cast(float, one.scores.dev))
        return list(found.values())

    @property
    def num_failed(self) -> int:
        """Runs without a score."""
        return len(self.records) - len(self.scored)

    @property
    def passes(self) -> float:
        """Mean passes of a run with a score."""
        return statistics.fmean([one.train_info.passes for one in self.scored] or [0.0])

    @property
    def mean(self) -> float | None:
        """Mean over tasks, sizes and models of the mean dev score over seeds; None without any score."""
        return statistics.fmean(map(statistics.fmean, self.scores)) if self.scores else None

    @property
    def std(self) -> float | None:
        """Mean over tasks, sizes and models of the standard deviation over seeds (ddof 0); two at least."""
        spreads = [statistics.pstdev(values) for values in self.scores if len(values) > 1]
        return statistics.fmean(spreads) if spreads else None


def finished_records(cells: Iterable[Cell]) -> list[Record]:
    """Return the records of the cells that have one.

    Raises:
        ConfigError: If one was made with other settings.
        DataError: If one cannot be read.
    """
    stores = Stores()
    found = (find_finished(cell.path, stores.settings(cell), None) for cell in cells)
    return [record for record in found if record is not None]


def choose(
    tuning: Tuning, records: Iterable[Record], refused: Iterable[Refusal] = ()
) -> tuple[dict[str, Trial], list[Trial]]:
    """Choose for each label the candidate with the best mean dev score; of equal ones, the cheaper.

    A candidate with failed runs comes after every one without: its mean would be over fewer seeds. One with
    refused runs comes after those, and is not chosen if all are refused. A label with a missing run
    gets no choice; a refused one has ended.

    Args:
        tuning: The file.
        records: Records of its runs.
        refused: Refusals; those of other cells and other settings do not matter.

    Returns:
        Label -> the chosen candidate; and all candidates of every label that has a run or a refusal.
    """
    runs = {_run_of(record): record for record in records}
    reasons = {(one.label, one.task, one.model, one.settings): one.reason for one in refused}
    cells: dict[str, list[Cell]] = {}
    for cell in tuning.cells:
        cells.setdefault(cell.label, []).append(cell)
    chosen, every = {}, []
    for label, several in tuning.candidates.items():
        made = []
        for number, settings in enumerate(several, 1):
            ended, refusals, num_missing = [], [], 0
            for cell in cells.get(f"{label}.{number}", ()):
                if record := runs.get(_run_of_cell(cell)):
                    ended.append(record)
                elif reason := _reason(cell, reasons):
                    refusals.append(reason)
                else:
                    num_missing += 1
            made.append(Trial(label, number, settings, ended, refusals, num_missing))
        if any(one.records or one.refusals for one in made):
            every += made
            scored = [one for one in made if one.scored]
            if scored and not any(one.num_missing for one in made):
                chosen[label] = min(scored, key=_rank)
    return chosen, every


def _run_of(record: Record) -> tuple[Any, ...]:
    size = record.settings.get("train_size", record.train_size)  # a number, or all
    return record.label, record.task, record.model, size, record.seed


def _run_of_cell(cell: Cell) -> tuple[Any, ...]:
    config = cell.config
    return cell.label, config.task, model_name(config.model), config.train_size, cell.seed


def _reason(cell: Cell, reasons: Mapping[tuple[str, str, str, str], str]) -> str | None:
    """Return why the method refuses a cell; None: it does not."""
    if not reasons:
        return None  # the fingerprint of its settings would be taken for nothing
    # the settings hold the size, be it a number or all
    one = refusal_of(cell.config, cell.method, cell.label, SMALLEST_SAMPLE)
    return reasons.get((one.label, one.task, one.model, one.settings))


def _rank(one: Trial) -> tuple[float, ...]:
    return len(one.refusals), one.num_failed, -(one.mean or 0.0), one.passes, one.number


def tuned_yaml(chosen: Mapping[str, Trial]) -> str:
    """Write the chosen settings as the ``methods:`` of a grid file."""
    settings = {label: candidate.settings for label, candidate in chosen.items()}
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def tuning_table(chosen: Mapping[str, Trial], candidates: Sequence[Trial]) -> str:
    """Write all candidates as a Markdown table; scores are times 100.

    Args:
        chosen: Label -> the chosen one, marked in the table.
        candidates: All of them.
    """
    rows = []
    for one in candidates:
        marks = ["yes"] if chosen.get(one.label) is one else []
        if one.refusals:
            marks.append(f"{len(one.refusals)} refused" if one.records else "refused")
        if one.num_missing:
            marks.append(f"{one.num_missing} missing")
        score = spread_text(one.mean, one.std)
        counts = (str(len(one.records)), str(one.num_failed), f"{one.passes:.0f}")
        settings = escape(_flat(one.settings))
        rows.append((escape(one.label), str(one.number), settings, score, *counts, ", ".join(marks)))
    head = ("method", "candidate", "settings", "dev score", "runs", "failed", "passes", "chosen")
    text = table(head, rows, right=(1, 3, 4, 5, 6), is_padded=False)
    text += (
        "\nDev score: times 100, mean over tasks of the mean over seeds ± mean over tasks of the standard"
        " deviation over seeds (ddof 0). Chosen: the best; of equal ones, that of fewer passes; candidates"
        " with failed runs after those, with refused ones last. No test example was scored.\n"
    )
    return text + "".join(f"\n{note}\n" for note in _notes(chosen, candidates))


def _notes(chosen: Mapping[str, Trial], candidates: Sequence[Trial]) -> list[str]:
    """Give the reasons of refused candidates and of labels without a choice."""
    notes = [
        f"Refused: {escape(one.label)} {one.number} ({_reasons([one])})"
        for one in candidates
        if one.label in chosen and one.refusals
    ]
    for label in dict.fromkeys(one.label for one in candidates if one.label not in chosen):
        several = [one for one in candidates if one.label == label]
        is_missing = any(one.num_missing for one in several)
        reason = "runs are missing" if is_missing else _reasons(several) or "no run gave a score"
        notes.append(f"No choice: {escape(label)} ({reason})")
    return notes


def _reasons(several: Iterable[Trial]) -> str:
    return escape(" ".join(dict.fromkeys(reason for one in several for reason in one.refusals)))


def _flat(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in flat_settings(settings).items()) or "defaults"
