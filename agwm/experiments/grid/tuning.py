"""Read a tuning file (docs/grids.md): as many candidates for every method, on seeds of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agwm.errors import ConfigError, one_line, shown
from agwm.experiments.config import OFFICIAL_SEEDS
from agwm.experiments.grid.cells import Grid, grid_of
from agwm.experiments.grid.files import Block, CellFile, read_file
from agwm.nested import flat_settings

__all__ = ["TUNING_SEEDS", "Tuning", "load_tuning"]

TUNING_SEEDS: tuple[int, ...] = (101, 202, 303)


@dataclass(frozen=True)
class Tuning(Grid):
    """Runs of all candidates; a candidate's label is ``<label>.<number>``, from 1.

    Attributes:
        candidates: Label -> settings of its candidates.
    """

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

    The arguments are those of :func:`agwm.experiments.grid.cells.load_grid`; a number of seeds means the
    first of ``TUNING_SEEDS``.

    Raises:
        ConfigError: If a key is unknown, a value wrong, or the budgets of the methods differ.
    """
    if isinstance(seeds, int):
        if not 1 <= seeds <= len(TUNING_SEEDS):
            raise ConfigError(
                f"Wrong number of seeds for tuning: expected 1 to {len(TUNING_SEEDS)}, got {seeds}. Pass a"
                " list of seeds that are not those of the report, such as --seeds 101,202,303,404."
            )
        seeds = list(TUNING_SEEDS[:seeds])
    file = read_file(path, "tune", delta, assignments, seeds)
    candidates = _candidates(file.blocks[0], file)
    if any(_candidates(block, file) != candidates for block in file.blocks):
        raise ConfigError(
            f"Blocks of {file.source} have different candidates: expected the same, of which one is"
            " chosen for all tasks, got others. Give them the same methods, by a YAML anchor."
        )
    _check_last(file, candidates)
    methods = {
        f"{label}.{number}": {"method": label, **settings}
        for label, several in candidates.items()
        for number, settings in enumerate(several, 1)
    }
    blocks = [replace(block, methods=methods, seeds=_seeds_of(block, file)) for block in file.blocks]
    grid = grid_of(replace(file, blocks=blocks))
    if any(cell.config.train_size == "whole" for cell in grid.cells):
        raise ConfigError(
            f"Wrong key 'tune.train_sizes' in {file.source}: expected numbers or all, got whole, which"
            " has no dev set. Change it."
        )
    return Tuning(grid.cells, grid.seconds_per_pass, candidates)


def _seeds_of(block: Block, file: CellFile) -> list[int]:
    if isinstance(block.seeds, int):
        raise ConfigError(
            f"Wrong key 'tune.seeds' in {file.source}: expected a list of seeds, got {block.seeds}, which"
            " would be seeds of the report. Write for example [101, 202, 303]."
        )
    return list(TUNING_SEEDS) if block.seeds is None else block.seeds


def _check_last(file: CellFile, candidates: Mapping[str, list[dict[str, Any]]]) -> None:
    last = flat_settings(file.last)
    for label, several in candidates.items():
        for key in (key for one in several for key in flat_settings(one)):
            if key in last:
                raise ConfigError(
                    f"Setting '{key}' of --set is one of the candidates of {label!r} in {file.source}:"
                    " expected another setting, which is the same for all of them. Change the file."
                )


def _candidates(block: Block, file: CellFile) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for label, several in block.methods.items():
        if not isinstance(several, list) or not all(isinstance(one, Mapping) for one in several):
            raise ConfigError(
                f"Wrong candidates of {shown(label)} in {file.source}: expected a list of settings, got"
                f" {shown(several)}. Write for example [{{vanilla: {{learning_rate: 1.0e-4}}}}]."
            )
        if len({repr(flat_settings(one)) for one in several}) < len(several):
            raise ConfigError(
                f"Candidates of {shown(label)} in {file.source} repeat: expected different ones."
                " Change one."
            )
        found[label] = [dict(one) for one in several]
    sizes = {label: len(several) for label, several in found.items()}
    if len(set(sizes.values())) > 1 or 0 in sizes.values():
        raise ConfigError(
            f"Budgets in {file.source} differ: expected as many candidates for every method, got"
            f" {one_line(', '.join(f'{label}: {size}' for label, size in sizes.items()))}. Add or remove"
            " candidates."
        )
    return found
