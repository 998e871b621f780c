"""A grid of runs, from a YAML file (docs/grids.md): methods x tasks x sizes x models x seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import product
from pathlib import Path
from typing import Any

from agwm.errors import ConfigError, close_names, one_line, shown
from agwm.experiments.config import RunConfig
from agwm.experiments.grid.files import Block, CellFile, read_file
from agwm.experiments.records import record_path
from agwm.experiments.yaml_files import lay_over
from agwm.methods import METHODS, Method, make_method
from agwm.nested import flat_settings

__all__ = ["Cell", "Grid", "grid_of", "load_grid", "select_cells"]

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_MOST_CELLS = 50_000


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        label: Name in tables of the method with its settings.
        method: One of ``METHODS``.
        seed: The run's seed.
        config: All settings, one object for the seeds that share them; ``methods`` holds this method alone.
    """

    label: str
    method: str
    seed: int
    config: RunConfig

    @cached_property
    def path(self) -> Path:
        """The file of the cell's record."""
        return record_path(self.config.output_dir, self.config, self.method, self.seed, self.label)


@dataclass(frozen=True)
class Grid:
    """Cells of a grid or tuning file.

    Attributes:
        cells: The runs, seed by seed: of an interrupted grid, all rows have about as many seeds.
        seconds_per_pass: Model -> assumed seconds of a pass; under ``""`` that of every other model.
    """

    cells: list[Cell]
    seconds_per_pass: Mapping[str, float]


def load_grid(
    path: str | Path,
    delta: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
    seeds: int | list[int] | None = None,
) -> Grid:
    """Read a grid file.

    Args:
        path: The file.
        delta: Nested mapping laid over base and settings, such as values of command-line flags.
        assignments: Texts such as ``"search.epochs=1"``, laid over the settings of every method as well.
        seeds: Instead of the file's.

    Raises:
        ConfigError: If a key is unknown, or a value wrong, in any cell.
    """
    return grid_of(read_file(path, "grid", delta, assignments, seeds))


def grid_of(file: CellFile) -> Grid:
    """Return the cells of a file.

    Args:
        file: The file; the methods of its blocks are label -> settings.

    Raises:
        ConfigError: If a value is wrong in any cell, two cells would write the same record, own files go
            under several names, or seconds are of a model that no cell has.
    """
    cells = [cell for block in file.blocks for cell in _expand(block, file)]
    own = dict.fromkeys(cell.config.task for cell in cells if cell.config.data.train_file is not None)
    if len(own) > 1:
        raise ConfigError(
            f"Own files are one task: expected one name under 'tasks' in {file.source}, got"
            f" {one_line(', '.join(own), 200)}. Keep one."
        )
    seen: dict[Path, Cell] = {}
    for cell in cells:
        if seen.setdefault(cell.path, cell) is not cell:
            raise ConfigError(
                f"Two cells of {file.source} have one record, {shown(cell.path.name)}: expected different"
                " labels, tasks, sizes, models or seeds, got the same twice. Remove one, or rename a label."
            )
    places = {seed: place for place, seed in enumerate(dict.fromkeys(cell.seed for cell in cells))}
    cells = sorted(cells, key=lambda cell: places[cell.seed])
    return Grid(cells, _assumed_seconds(file, cells))


def _expand(block: Block, file: CellFile) -> list[Cell]:
    seeds = 1 if block.seeds is None else block.seeds
    axes = (block.tasks, block.train_sizes, block.models)
    num_seeds = len(seeds) if isinstance(seeds, list) else 1
    num_cells = len(block.methods) * math.prod(map(len, axes)) * num_seeds
    if num_cells > _MOST_CELLS:
        raise ConfigError(
            f"Too many cells in {file.source}: expected at most {_MOST_CELLS}, got {num_cells}. Write"
            " several grids."
        )
    cells = []
    for label, settings in block.methods.items():
        method, own = _method_and_settings(label, settings, file.source)
        for task, size, model in product(*axes):
            place = {"methods": [method], "task": task, "train_size": size, "model": model, "seeds": seeds}
            values = reduce(lay_over, (own, file.last, place), block.settings or {})
            config = RunConfig.from_dict(values, f"'{label}' of {file.source}")
            _check_used(label, own, make_method(method, config.rivals), file.source)
            cells += [Cell(label, method, seed, config) for seed in config.seed_list]
    return cells


def _method_and_settings(label: object, settings: object, source: str) -> tuple[str, dict[str, Any]]:
    if not isinstance(label, str) or not _LABEL.fullmatch(label) or "--" in label:
        raise ConfigError(
            f"Wrong label {shown(label)} in {source}: expected letters, digits, '.', '_', '+' and"
            " single '-', 100 at most. Choose another."
        )
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError(
            f"Wrong settings of {shown(label)} in {source}: expected a section, got {shown(settings)}."
        )
    own = dict(settings or {})
    method = own.pop("method", label)
    if not isinstance(method, str) or method not in METHODS:
        raise ConfigError(
            f"Unknown method {shown(method)} of {shown(label)} in {source}: expected one of"
            f" {', '.join(METHODS)}.{close_names(str(method), METHODS)} A label that is no method needs"
            " 'method:'."
        )
    return method, own


def _check_used(label: str, own: Mapping[str, Any], method: Method, source: str) -> None:
    used = [*method.sections, *([] if method.settings_class is None else [f"rivals.{method.name}"])]
    rivals = [f"rivals.{name}" for name in own.get("rivals", ())]
    for name in (*(name for name in own if name != "rivals"), *rivals, *flat_settings(own)):
        is_used = any(f"{name}.".startswith(f"{section}.") for section in used)
        if not is_used or name in method.unused():
            raise ConfigError(
                f"Setting {shown(f'{label}.{name}')} in {source} does nothing: expected settings of method"
                f" {method.name!r}, which uses {', '.join(used)}, got one that it does not read. Remove it."
            )


def _assumed_seconds(file: CellFile, cells: Iterable[Cell]) -> Mapping[str, float]:
    """Return the assumed seconds of a pass: model -> seconds; under ``""`` those of every other model.

    Raises:
        ConfigError: If a model is of no cell.
    """
    if not isinstance(file.seconds_per_pass, Mapping):
        return {"": file.seconds_per_pass}
    models = dict.fromkeys(cell.config.model for cell in cells)
    for model in file.seconds_per_pass:
        if model not in models:
            raise ConfigError(
                f"Wrong key {shown(f'seconds_per_pass.{model}')} in {file.source}: expected a model of the"
                f" grid, one of {one_line(', '.join(models))}.{close_names(str(model), models)}"
            )
    return file.seconds_per_pass


def select_cells(cells: Sequence[Cell], **wanted: Sequence[Any] | None) -> list[Cell]:
    """Return the cells whose label, task, model and size are wanted.

    Args:
        cells: All cells.
        **wanted: ``label``, ``task``, ``model`` or ``train_size`` -> values; None: all.

    Raises:
        ConfigError: If no cell has a value that is wanted.
    """
    for name, values in wanted.items():
        if values is None:
            continue
        known = list(dict.fromkeys(str(_value(cell, name)) for cell in cells))
        for value in values:
            if str(value) not in known:
                raise ConfigError(
                    f"No cell with {name} {shown(value)} in the grid: expected one of"
                    f" {one_line(', '.join(known))}.{close_names(str(value), known)}"
                )
        cells = [cell for cell in cells if _value(cell, name) in values]
    return list(cells)


def _value(cell: Cell, name: str) -> Any:
    return cell.label if name == "label" else getattr(cell.config, name)
