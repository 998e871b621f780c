"""A grid of runs, from a YAML file (docs/grids.md): methods x tasks x sizes x models x seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

from agwm.errors import ConfigError, close_names, one_line, shown
from agwm.experiments.config import BY_FLAG, RunConfig
from agwm.experiments.grid.bases import AXES, read_blocks
from agwm.experiments.grid.estimate import assumed_seconds
from agwm.experiments.grid.keys import check_keys, check_used, laid_last, section_settings
from agwm.experiments.records import record_path
from agwm.experiments.yaml_files import checked, lay_over, read_yaml
from agwm.methods import METHODS, make_method

__all__ = ["Cell", "Grid", "check_files", "load_grid", "select_cells"]

_SECTIONS = ("vanilla", "rivals", "mixing", "hypergradient", "search", "final")
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
    """Content of a grid file.

    Attributes:
        cells: The runs, seed by seed: of an interrupted grid, all rows have about as many seeds.
        seconds_per_pass: Model -> assumed seconds of a pass; under ``""`` that of every other model.
    """

    cells: list[Cell]
    seconds_per_pass: dict[str, float]


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
    path, cells = Path(path), []
    content, base, blocks = read_blocks(path, "grid", delta, ("seconds_per_pass",))
    for block in blocks:
        methods = read_methods(block.get("methods"), path)
        cells += expand(base, block, methods, assignments, seeds, path)
    check_files(cells, path)
    cells = by_seed(cells)
    models = dict.fromkeys(cell.config.model for cell in cells)
    return Grid(cells, assumed_seconds(content.get("seconds_per_pass", {}), list(models), path))


def by_seed(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells seed by seed, in the order in which the seeds come."""
    places = {seed: place for place, seed in enumerate(dict.fromkeys(cell.seed for cell in cells))}
    return sorted(cells, key=lambda cell: places[cell.seed])


def expand(
    base: Mapping[str, Any],
    block: Mapping[str, Any],
    methods: Mapping[str, Mapping[str, Any]],
    assignments: Iterable[str],
    seeds: int | list[int] | None,
    path: Path,
) -> list[Cell]:
    """Return the cells of one block.

    Args:
        base: Nested settings under all of them.
        block: ``tasks``, ``train_sizes``, ``models``, ``seeds`` and perhaps ``settings``.
        methods: Label -> settings.
        assignments: Texts of ``--set``.
        seeds: Instead of the block's.
        path: The file, for messages.

    Raises:
        ConfigError: If a value is wrong in any cell, or ``--set`` sets what names a cell.
    """
    axes = [_axis(block, name, path) for name in AXES]
    shared = section_settings(block, path, "grid.")
    checked(RunConfig, {} if seeds is None else {"seeds": seeds}, "the command line", form=BY_FLAG)
    seeds = block.get("seeds", 1) if seeds is None else seeds
    last = laid_last(assignments)
    num_cells = len(methods) * math.prod(map(len, axes)) * (len(seeds) if isinstance(seeds, list) else 1)
    if num_cells > _MOST_CELLS:
        raise ConfigError(
            f"Too many cells in {shown(path)}: expected at most {_MOST_CELLS}, got {num_cells}. Write"
            " several grids."
        )
    cells = []
    for label, settings in methods.items():
        method, own = _settings_of(label, settings, path)
        for task in axes[0]:
            for size in axes[1]:
                for model in axes[2]:
                    place = {"methods": [method], "task": task, "model": model, "seeds": seeds}
                    place["train_size"] = size
                    values = reduce(lay_over, (shared, own, last, place), base)
                    config = RunConfig.from_dict(values, f"'{label}' of {shown(path)}")
                    check_used(label, own, make_method(method, config.rivals), path)
                    cells += [Cell(label, method, seed, config) for seed in config.seed_list]
    return cells


def read_methods(methods: object, path: Path) -> Mapping[str, Any]:
    """Return label -> settings, from the file itself or from the file that it names.

    Raises:
        ConfigError: If there are no such settings.
    """
    if isinstance(methods, str):
        methods = read_yaml(path.parent / methods)
    if not isinstance(methods, Mapping) or not methods:
        raise ConfigError(
            f"Wrong key 'methods' in {shown(path)}: expected label -> settings, or a file of them, got"
            f" {shown(methods)}. Write for example methods: {{vanilla: {{}}}}."
        )
    return methods


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
        known = list(dict.fromkeys(_value(cell, name) for cell in cells))
        for value in values:
            if value not in known:
                raise ConfigError(
                    f"No cell with {name} {shown(value)} in the grid: expected one of"
                    f" {one_line(', '.join(map(str, known)))}.{close_names(str(value), map(str, known))}"
                )
        cells = [cell for cell in cells if _value(cell, name) in values]
    return list(cells)


def _value(cell: Cell, name: str) -> Any:
    return cell.label if name == "label" else getattr(cell.config, name)


def _axis(block: Mapping[str, Any], name: str, path: Path) -> list[Any]:
    values = block.get(name)
    if not isinstance(values, list) or not values or len(set(map(str, values))) < len(values):
        raise ConfigError(
            f"Wrong key 'grid.{name}' in {shown(path)}: expected a list of one or more different values,"
            f" got {shown(values)}. Correct it."
        )
    return values


def _settings_of(label: object, settings: object, path: Path) -> tuple[str, dict[str, Any]]:
    """Return the method of a label, and the settings that the label lays over.

    Raises:
        ConfigError: If the label, the method or a setting is wrong.
    """
    if not isinstance(label, str) or not _LABEL.fullmatch(label) or "--" in label:
        raise ConfigError(
            f"Wrong label {shown(label)} in {shown(path)}: expected letters, digits, '.', '_', '+' and"
            " single '-', 100 at most. Choose another."
        )
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError(
            f"Wrong settings of {shown(label)} in {shown(path)}: expected a section, got {shown(settings)}."
        )
    own = dict(settings or {})
    method = own.pop("method", label)
    if not isinstance(method, str) or method not in METHODS:
        raise ConfigError(
            f"Unknown method {shown(method)} of {shown(label)} in {shown(path)}: expected one of"
            f" {', '.join(METHODS)}.{close_names(str(method), METHODS)} A label that is no method needs"
            " 'method:'."
        )
    check_keys(own, ("method", *_SECTIONS), path, f"{label}.")
    return method, own


def check_files(cells: Sequence[Cell], path: Path) -> None:
    """Raise if two cells would write the same record, or own files go under several names.

    Raises:
        ConfigError: If so.
    """
    tasks = dict.fromkeys(cell.config.task for cell in cells if cell.config.data.train_file is not None)
    if len(tasks) > 1:
        raise ConfigError(
            f"Own files are one task: expected one name under 'tasks' in {shown(path)}, got"
            f" {one_line(', '.join(tasks), 200)}."
            " Keep one."
        )
    seen: dict[Path, Cell] = {}
    for cell in cells:
        other = seen.setdefault(cell.path, cell)
        if other is not cell:
            raise ConfigError(
                f"Two cells of {shown(path)} have one record, {shown(cell.path.name)}: expected different"
                " labels, tasks, sizes, models or seeds, got the same twice. Remove one, or rename a label."
            )
