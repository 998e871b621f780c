"""Choice of settings by dev score: the same number of candidates for every method, never a test score.

The file::

    base: ../minilm.yaml
    settings: {}                # as in a grid file
    tune:
      tasks: [stsb, mrpc]
      train_sizes: [300]
      models: [minilm]
      seeds: [101, 202, 303]    # not those of the report
      methods:                  # label -> candidates, for every label as many
        vanilla: [{vanilla: {learning_rate: 5.0e-5}}, {vanilla: {learning_rate: 1.0e-4}}]
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from agwm.config import OFFICIAL_SEEDS
from agwm.errors import ConfigError
from agwm.grid.cells import Cell, base_values, check_keys, expand, read_methods
from agwm.yaml_config import read_yaml

__all__ = ["TUNING_SEEDS", "Candidate", "Tuning", "choose", "load_tuning", "tuned_yaml", "tuning_table"]

TUNING_SEEDS: tuple[int, ...] = (101, 202, 303)


@dataclass(frozen=True)
class Tuning:
    """What a tuning file says.

    Attributes:
        cells: The runs of all candidates; a candidate's label is ``<label>.<number>``, from 1.
        candidates: Label -> settings of its candidates.
    """

    cells: list[Cell]
    candidates: dict[str, list[dict[str, Any]]]

    @property
    def seeds_of_report(self) -> list[int]:
        """Tuning seeds that are among ``OFFICIAL_SEEDS``."""
        return sorted({cell.seed for cell in self.cells} & set(OFFICIAL_SEEDS))


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
        """Mean over tasks, sizes and models of the standard deviation over seeds (ddof 0)."""
        spreads = [statistics.pstdev(values) for values in self.scores.values()]
        return statistics.fmean(spreads) if spreads else None


def load_tuning(
    path: str | Path,
    delta: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
    seeds: int | list[int] | None = None,
) -> Tuning:
    """Read a tuning file.

    Args:
        path: The file.
        delta: Nested mapping laid over base and settings.
        assignments: Texts of ``--set``, laid over every candidate.
        seeds: Instead of the file's.

    Raises:
        ConfigError: If a key is unknown, a value wrong, or the budgets of the methods differ.
    """
    path = Path(path)
    content = read_yaml(path)
    check_keys(content, ("base", "settings", "tune"), path)
    block = content.get("tune")
    if not isinstance(block, Mapping):
        raise ConfigError(f"Tuning file {str(path)!r} has no section 'tune': expected one, got {block!r}.")
    check_keys(block, ("tasks", "train_sizes", "models", "seeds", "methods"), path, "tune.")
    candidates = _candidates(read_methods(block.get("methods"), path), path)
    base = base_values(content, path, delta)
    flat = {
        f"{label}.{number}": {"method": label, **settings}
        for label, several in candidates.items()
        for number, settings in enumerate(several, 1)
    }
    block = {"seeds": list(TUNING_SEEDS), **block}
    if isinstance(block["seeds"], int) and seeds is None:
        raise ConfigError(
            f"Wrong key 'tune.seeds' in {path}: expected a list of seeds, got {block['seeds']!r}, which"
            " would be seeds of the report. Write for example [101, 202, 303]."
        )
    if isinstance(seeds, int):
        seeds = list(TUNING_SEEDS[:seeds])
    cells = expand(base, block, flat, assignments, seeds, path)
    if any(cell.config.train_size is None for cell in cells):
        raise ConfigError(f"Wrong key 'tune.train_sizes' in {path}: expected numbers, got all: no dev set.")
    order = list(dict.fromkeys(cell.seed for cell in cells))
    return Tuning(sorted(cells, key=lambda cell: order.index(cell.seed)), candidates)


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
        score = "-" if one.mean is None else f"{100 * one.mean:.2f} ± {100 * one.std:.2f}"
        mark = "yes" if chosen.get(one.label) is one else ""
        cells = (one.label, one.number, _flat(one.settings), score, one.num_runs, one.num_failed)
        lines.append("| " + " | ".join(map(str, cells)) + f" | {one.passes:.0f} | {mark} |")
    return "\n".join(lines) + (
        "\n\nDev score: times 100, mean over tasks of the mean over seeds ± mean over tasks of the standard"
        " deviation over seeds (ddof 0). Chosen: the best; of equal ones, that of fewer passes; candidates"
        " with failed runs last. No test example was scored.\n"
    )


def _candidates(methods: Mapping[str, Any], path: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for label, several in methods.items():
        if not isinstance(several, list) or not all(isinstance(one, Mapping) for one in several):
            raise ConfigError(
                f"Wrong candidates of {label!r} in {path}: expected a list of settings, got {several!r}."
                " Write for example [{vanilla: {learning_rate: 1.0e-4}}]."
            )
        if len({repr(_flat(one)) for one in several}) < len(several):
            raise ConfigError(
                f"Candidates of {label!r} in {path} repeat: expected different ones. Change one."
            )
        found[label] = [dict(one) for one in several]
    sizes = {label: len(several) for label, several in found.items()}
    if len(set(sizes.values())) > 1 or 0 in sizes.values():
        raise ConfigError(
            f"Budgets in {path} differ: expected as many candidates for every method, got"
            f" {', '.join(f'{label}: {size}' for label, size in sizes.items())}. Add or remove candidates."
        )
    return found


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


def _flat(settings: Mapping[str, Any], prefix: str = "") -> str:
    parts = []
    for key, value in settings.items():
        is_section = isinstance(value, Mapping)
        parts.append(_flat(value, f"{prefix}{key}.") if is_section else f"{prefix}{key}={value}")
    return ", ".join(parts) or "defaults"
