"""Choose one candidate of a tuning by its dev scores, and write the table of all."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import yaml

from agwm.data.sampling import SMALLEST_SAMPLE
from agwm.experiments.grid.cells import Cell
from agwm.experiments.grid.tuning import Tuning
from agwm.experiments.record import Record
from agwm.experiments.records import find_finished, run_settings
from agwm.experiments.refusals import Refusal, refusal_of
from agwm.experiments.reporting.spread import spread_text
from agwm.markdown import escape, table
from agwm.nested import flat_settings

__all__ = ["Trial", "choose", "finished_records", "tuned_yaml", "tuning_table"]


@dataclass(frozen=True)
class Trial:
    """One candidate of a tuning: its settings, its runs and its dev scores.

    Attributes:
        label: Label of the method.
        number: Among the label's candidates, from 1.
        settings: As a grid file would hold them.
        records: Of its runs that have ended.
        refusals: Reasons of its runs that the method refuses, one a run.
        num_expected: Number of its runs.
    """

    label: str
    number: int
    settings: dict[str, Any]
    records: Sequence[Record]
    refusals: Sequence[str]
    num_expected: int

    @property
    def scored(self) -> list[Record]:
        """Records with a dev score."""
        return [one for one in self.records if one.scores.dev is not None]

    @property
    def scores(self) -> dict[tuple[str, int, str], list[float]]:
        """Task, size and model -> dev score of each seed that gave one."""
        found: dict[tuple[str, int, str], list[float]] = {}
        for one in self.scored:
            found.setdefault((one.task, one.train_size, one.model), []).append(cast(float, one.scores.dev))
        return found

    @property
    def num_failed(self) -> int:
        """Runs without a score."""
        return len(self.records) - len(self.scored)

    @property
    def num_missing(self) -> int:
        """Runs still to be made."""
        return self.num_expected - len(self.records) - len(self.refusals)

    @property
    def passes(self) -> float:
        """Mean passes of a run with a score."""
        return statistics.fmean([one.train_info.passes for one in self.scored] or [0.0])

    @property
    def mean(self) -> float | None:
        """Mean over tasks, sizes and models of the mean dev score over seeds; None without any score."""
        means = [statistics.fmean(values) for values in self.scores.values()]
        return statistics.fmean(means) if means else None

    @property
    def std(self) -> float | None:
        """Mean over tasks, sizes and models of the standard deviation over seeds (ddof 0); two at least."""
        spreads = [statistics.pstdev(values) for values in self.scores.values() if len(values) > 1]
        return statistics.fmean(spreads) if spreads else None


def finished_records(cells: Iterable[Cell]) -> list[Record]:
    """Return the records of the cells that have one.

    Raises:
        ConfigError: If one was made with other settings.
        DataError: If one cannot be read.
    """
    found = (
        find_finished(cell.path, run_settings(cell.config, cell.method, cell.seed), None) for cell in cells
    )
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
    by_label: dict[str, list[Record]] = {}
    for record in records:
        by_label.setdefault(record.label, []).append(record)
    expected = Counter(cell.label for cell in tuning.cells)
    reasons = _reasons(tuning, by_label, refused)
    chosen, every = {}, []
    for label, several in tuning.candidates.items():
        names = [f"{label}.{number}" for number in range(1, len(several) + 1)]
        if not any(name in by_label or name in reasons for name in names):
            continue
        made = [
            Trial(label, number, settings, by_label.get(name, []), reasons.get(name, []), expected[name])
            for number, (name, settings) in enumerate(zip(names, several, strict=True), 1)
        ]
        every += made
        scored = [candidate for candidate in made if candidate.mean is not None]
        if scored and not any(candidate.num_missing for candidate in made):
            chosen[label] = min(scored, key=_rank)
    return chosen, every


def _rank(one: Trial) -> tuple[float, ...]:
    return len(one.refusals), one.num_failed, -(one.mean or 0.0), one.passes, one.number


def tuned_yaml(chosen: Mapping[str, Trial]) -> str:
    """Write the chosen settings as the ``methods:`` of a grid file."""
    return yaml.safe_dump(
        {label: candidate.settings for label, candidate in chosen.items()},
        sort_keys=False,
        allow_unicode=True,
    )


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
    lines = [text.rstrip("\n")]
    lines.append(
        "\nDev score: times 100, mean over tasks of the mean over seeds ± mean over tasks of the standard"
        " deviation over seeds (ddof 0). Chosen: the best; of equal ones, that of fewer passes; candidates"
        " with failed runs after those, with refused ones last. No test example was scored."
    )
    lines += [f"\n{note}" for note in _notes(chosen, candidates)]
    return "\n".join(lines) + "\n"


def _notes(chosen: Mapping[str, Trial], candidates: Sequence[Trial]) -> list[str]:
    """Give the reasons of refused candidates and of labels without a choice."""
    notes: list[str] = []
    others: dict[str, list[Trial]] = {}
    for one in candidates:
        if one.label not in chosen:
            others.setdefault(one.label, []).append(one)
        elif one.refusals:
            reasons = " ".join(dict.fromkeys(one.refusals))
            notes.append(f"Refused: {escape(one.label)} {one.number} ({escape(reasons)})")
    for label, several in others.items():
        every = dict.fromkeys(reason for one in several for reason in one.refusals)
        reason = escape(" ".join(every)) or "no run gave a score"
        if any(one.num_missing for one in several):
            reason = "runs are missing"
        notes.append(f"No choice: {escape(label)} ({reason})")
    return notes


def _reasons(
    tuning: Tuning, by_label: Mapping[str, Sequence[Record]], refused: Iterable[Refusal]
) -> dict[str, list[str]]:
    """Return the reasons of refused cells without a record, by label."""
    known = {(one.label, one.task, one.model, one.settings): one.reason for one in refused}
    if not known:
        return {}  # fingerprints of all cells would be taken for nothing
    have_run = {
        (
            label,
            record.task,
            record.model,
            record.settings.get("train_size", record.train_size),
            record.seed,
        )
        for label, records in by_label.items()
        for record in records
    }
    found: dict[str, list[str]] = {}
    for cell in tuning.cells:
        # the settings hold the size, be it a number or all
        one = refusal_of(cell.config, cell.method, cell.label, SMALLEST_SAMPLE)
        place = (one.label, one.task, one.model)
        reason = known.get((*place, one.settings))
        if reason is not None and (*place, cell.config.train_size, cell.seed) not in have_run:
            found.setdefault(cell.label, []).append(reason)
    return found


def _flat(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in flat_settings(settings).items()) or "defaults"
