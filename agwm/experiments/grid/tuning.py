"""Read a tuning file (docs/grids.md): as many candidates for every method, on seeds of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agwm.errors import ConfigError, one_line, shown
from agwm.experiments.config import OFFICIAL_SEEDS
from agwm.experiments.grid.bases import read_blocks
from agwm.experiments.grid.cells import Cell, by_seed, check_files, expand, read_methods
from agwm.experiments.yaml_files import parse_assignment
from agwm.nested import flat_settings

__all__ = ["TUNING_SEEDS", "Tuning", "load_tuning"]

TUNING_SEEDS: tuple[int, ...] = (101, 202, 303)


@dataclass(frozen=True)
class Tuning:
    """Content of a tuning file.

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
    path, assignments = Path(path), list(assignments)
    _, base, blocks = read_blocks(path, "tune", delta)
    cells: list[Cell] = []
    candidates: dict[str, list[dict[str, Any]]] = {}
    for block in blocks:
        own = _candidates(read_methods(block.get("methods"), path), path)
        candidates = candidates or own
        if own != candidates:
            raise ConfigError(
                f"Blocks of {shown(path)} have different candidates: expected the same, of which one is"
                " chosen for all tasks, got others. Give them the same methods, by a YAML anchor."
            )
        _check_assignments(assignments, candidates, path)
        flat = {
            f"{label}.{number}": {"method": label, **settings}
            for label, several in candidates.items()
            for number, settings in enumerate(several, 1)
        }
        block = {**block, "seeds": _seeds(block, path)}
        cells += expand(base, block, flat, assignments, _of(seeds), path)
    if any(cell.config.train_size == "whole" for cell in cells):
        raise ConfigError(
            f"Wrong key 'tune.train_sizes' in {shown(path)}: expected numbers or all, got whole, which"
            " has no dev set. Change it."
        )
    check_files(cells, path)
    return Tuning(by_seed(cells), candidates)


def _seeds(block: Mapping[str, Any], path: Path) -> object:
    seeds = block.get("seeds", list(TUNING_SEEDS))
    if isinstance(seeds, int):
        raise ConfigError(
            f"Wrong key 'tune.seeds' in {shown(path)}: expected a list of seeds, got {shown(seeds)}, which"
            " would be seeds of the report. Write for example [101, 202, 303]."
        )
    return seeds


def _of(seeds: int | list[int] | None) -> list[int] | None:
    """Return the seeds of the command line; a number means the first of ``TUNING_SEEDS``.

    Raises:
        ConfigError: If there are fewer seeds.
    """
    if not isinstance(seeds, int):
        return seeds
    if not 1 <= seeds <= len(TUNING_SEEDS):
        raise ConfigError(
            f"Wrong number of seeds for tuning: expected 1 to {len(TUNING_SEEDS)}, got {seeds}. Pass a list"
            " of seeds that are not those of the report, such as --seeds 101,202,303,404."
        )
    return list(TUNING_SEEDS[:seeds])


def _check_assignments(
    assignments: Iterable[str], candidates: Mapping[str, list[dict[str, Any]]], path: Path
) -> None:
    """Raise if the command line sets for all candidates a setting in which they differ.

    Raises:
        ConfigError: If it does.
    """
    compared = {
        key: label for label, several in candidates.items() for one in several for key in flat_settings(one)
    }
    for text in assignments:
        for key in flat_settings(parse_assignment(text)):
            if key in compared:
                raise ConfigError(
                    f"Setting '{key}' of --set is one of the candidates of {compared[key]!r} in"
                    f" {shown(path)}: expected another setting, which is the same for all of them. Change"
                    " the file."
                )


def _candidates(methods: Mapping[str, Any], path: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for label, several in methods.items():
        if not isinstance(several, list) or not all(isinstance(one, Mapping) for one in several):
            raise ConfigError(
                f"Wrong candidates of {shown(label)} in {shown(path)}: expected a list of settings, got"
                f" {shown(several)}. Write for example [{{vanilla: {{learning_rate: 1.0e-4}}}}]."
            )
        if len({repr(flat_settings(one)) for one in several}) < len(several):
            raise ConfigError(
                f"Candidates of {shown(label)} in {shown(path)} repeat: expected different ones. Change"
                " one."
            )
        found[label] = [dict(one) for one in several]
    sizes = {label: len(several) for label, several in found.items()}
    if len(set(sizes.values())) > 1 or 0 in sizes.values():
        raise ConfigError(
            f"Budgets in {shown(path)} differ: expected as many candidates for every method, got"
            f" {one_line(', '.join(f'{label}: {size}' for label, size in sizes.items()))}. Add or remove"
            " candidates."
        )
    return found
