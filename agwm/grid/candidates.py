"""What the candidates of a tuning gave on the dev sets, and which of them is chosen."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from agwm.grid.cells import Cell
from agwm.grid.tuning import Tuning
from agwm.records import find_finished, run_settings
from agwm.reporting.spread import spread_text
from agwm.yaml_config import flat_settings

__all__ = ["Candidate", "choose", "finished_records", "tuned_yaml", "tuning_table"]


@dataclass(frozen=True)
class Candidate:
    """A setting of a method and what it gave.

    Attributes:
        label: Of the method.
        number: Among the label's candidates, from 1.
        settings: As a grid file would hold them.
        scores: Task, size and model -> dev score of each seed that gave one.
        num_runs: Runs that have ended.
        num_failed: Those without a score.
        passes: Mean passes of a run.
    """

    label: str
    number: int
    settings: dict[str, Any]
    scores: dict[tuple[str, int, str], list[float]]
    num_runs: int
    num_failed: int
    passes: float

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


def finished_records(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Return the records of the cells that have one.

    Raises:
        ConfigError: If one was made with other settings.
        DataError: If one cannot be read.
    """
    found = (
        find_finished(cell.path(), run_settings(cell.config, cell.method, cell.seed), None)
        for cell in cells
    )
    return [record for record in found if record is not None]


def choose(
    tuning: Tuning, records: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Candidate], list[Candidate]]:
    """Choose for each label the candidate of the best mean dev score; of equal ones, the cheaper.

    A candidate with failed runs comes after every one without: its mean would be over fewer seeds. A label
    of which a run is missing gets no choice.

    Args:
        tuning: The file.
        records: Of its runs.

    Returns:
        Label -> the chosen candidate, and all candidates that have been run.
    """
    by_label: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_label.setdefault(record["run_info"]["label"], []).append(record)
    expected: dict[str, int] = {}
    for cell in tuning.cells:
        expected[cell.label] = expected.get(cell.label, 0) + 1
    chosen, every = {}, []
    for label, several in tuning.candidates.items():
        names = [f"{label}.{number}" for number in range(1, len(several) + 1)]
        made = [
            _candidate(label, number, settings, by_label[name])
            for number, (name, settings) in enumerate(zip(names, several, strict=True), 1)
            if name in by_label
        ]
        every += made
        is_complete = all(len(by_label.get(name, ())) == expected.get(name) for name in names)
        scored = [candidate for candidate in made if candidate.mean is not None]
        if is_complete and scored:
            chosen[label] = min(scored, key=lambda c: (c.num_failed, -c.mean, c.passes, c.number))
    return chosen, every


def tuned_yaml(chosen: Mapping[str, Candidate]) -> str:
    """Write label -> settings, as ``methods:`` of a grid takes it or the file that holds it."""
    return yaml.safe_dump(
        {label: candidate.settings for label, candidate in chosen.items()},
        sort_keys=False,
        allow_unicode=True,
    )


def tuning_table(chosen: Mapping[str, Candidate], candidates: Sequence[Candidate]) -> str:
    """Write all candidates as a Markdown table; scores are times 100.

    Args:
        chosen: Label -> the chosen one, marked in the table.
        candidates: All of them.
    """
    lines = [
        "| method | candidate | settings | dev score | runs | failed | passes | chosen |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in candidates:
        score = spread_text(one.mean, one.std)
        mark = "yes" if chosen.get(one.label) is one else ""
        cells = (one.label, one.number, _flat(one.settings), score, one.num_runs, one.num_failed)
        lines.append("| " + " | ".join(map(str, cells)) + f" | {one.passes:.0f} | {mark} |")
    return "\n".join(lines) + (
        "\n\nDev score: times 100, mean over tasks of the mean over seeds ± mean over tasks of the standard"
        " deviation over seeds (ddof 0). Chosen: the best; of equal ones, that of fewer passes; candidates"
        " with failed runs last. No test example was scored.\n"
    )


def _candidate(
    label: str, number: int, settings: dict[str, Any], records: Sequence[Mapping[str, Any]]
) -> Candidate:
    scores: dict[tuple[str, int, str], list[float]] = {}
    for record in records:
        info, dev = record["run_info"], record["scores"]["dev"]
        if dev is not None:
            scores.setdefault((info["task"], info["train_size"], info["model"]), []).append(dev)
    num_failed = sum(record["scores"]["dev"] is None for record in records)
    passes = [r["train_info"]["passes"] for r in records if r["scores"]["dev"] is not None] or [0.0]
    return Candidate(label, number, settings, scores, len(records), num_failed, statistics.fmean(passes))


def _flat(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in flat_settings(settings).items()) or "defaults"
