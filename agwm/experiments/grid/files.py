"""Read grid and tuning files (docs/grids.md): blocks of cells, and the settings under and over all of them.

Own files that the command line names take the place of all tasks and sizes of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from agwm.checks import Interval, Seed
from agwm.configs.packaged import base_file
from agwm.data.tasks import TASKS
from agwm.errors import ConfigError, shown
from agwm.experiments.config import (
    BY_FLAG,
    FLAGS,
    RunConfig,
    checked_assignments,
    load_config,
    name_own_files,
)
from agwm.experiments.names import PathText
from agwm.experiments.yaml_files import checked, construct, lay_over, read_yaml

__all__ = ["Block", "CellFile", "PassSeconds", "read_file"]

PassSeconds = Annotated[float, Interval(0, is_open=True)]
# Keys that name a cell, so that no settings may hold them.
_OF_CELLS = ("methods", "task", "model", "train_size", "seeds")


class _Different:
    """The lists of values that are all different."""

    def __contains__(self, values: list[Any]) -> bool:
        return 0 < len(values) == len(set(map(str, values)))

    def __str__(self) -> str:
        return "of one or more different values"


_Axis = Annotated[list[Any], _Different()]


@dataclass(frozen=True)
class Block:
    """Cells that have their settings in common.

    Attributes:
        tasks: Names of tasks.
        train_sizes: Values of ``train_size``.
        models: Names or folders of models.
        methods: Label -> settings; in a tuning file label -> candidates.
        seeds: Their number, or a list; None: the file does not say.
        settings: Nested settings under those of every label.
    """

    tasks: _Axis
    train_sizes: _Axis
    models: _Axis
    methods: Any
    seeds: int | list[Seed] | None = None
    settings: Mapping[Any, Any] | None = None


@dataclass(frozen=True)
class _Head:
    """Keys of a file beside its blocks."""

    base: PathText | None = None
    settings: Mapping[Any, Any] | None = None
    seconds_per_pass: PassSeconds | Mapping[Any, PassSeconds] = field(default_factory=dict)


@dataclass(frozen=True)
class CellFile:
    """Content of a grid or tuning file, with what the command line lays over it.

    Attributes:
        source: Its name, for messages.
        blocks: The blocks of cells.
        last: Nested settings of ``--set``, laid over every cell.
        seconds_per_pass: Assumed seconds of a pass; or model -> seconds.
    """

    source: str
    blocks: list[Block]
    last: Mapping[str, Any]
    seconds_per_pass: float | Mapping[Any, float]


def read_file(
    path: str | Path,
    kind: str,
    delta: Mapping[str, Any] | None,
    assignments: Iterable[str],
    seeds: int | list[int] | None,
) -> CellFile:
    """Read a file of blocks of cells; their key is ``kind``, ``"grid"`` or ``"tune"``.

    The other arguments are those of :func:`agwm.experiments.grid.cells.load_grid`.

    Raises:
        ConfigError: If a key is unknown, a value wrong, there is no block, or ``--set`` names a cell.
    """
    path = Path(path)
    source, content = shown(path), read_yaml(path)
    blocks = content.pop(kind, None)
    blocks = [blocks] if isinstance(blocks, dict) else blocks
    if not isinstance(blocks, list) or not blocks or not all(isinstance(one, dict) for one in blocks):
        raise ConfigError(
            f"File {source} has no cells: expected a section {kind!r}, or a list of them, got"
            f" {shown(blocks)}. Write {kind}: with tasks, train_sizes, models, seeds and methods."
        )
    head = construct(_Head, checked(_Head, content, source))
    _check_settings(head.settings, kind, "", source)
    base = _base_values(head, path, delta)
    if (delta or {}).get("data", {}).get("train_file"):
        if len(blocks) > 1:
            raise ConfigError(
                f"Own files are one task: expected {source} to have one block of cells beside"
                f" --train-file, got {len(blocks)}. Copy the one whose settings fit into a file."
            )
        blocks = [{**blocks[0], "tasks": [base["task"]], "train_sizes": [base["train_size"]]}]
    given = {} if seeds is None else {"seeds": seeds}
    checked(RunConfig, given, "the command line", form=BY_FLAG)
    found = []
    for block in blocks:
        required = dict.fromkeys(("tasks", "train_sizes", "models", "methods"))
        if block.get("seeds", 1) is None:
            raise ConfigError(
                f"Wrong key '{kind}.seeds' in {source}: expected a number of seeds or a list of them, got"
                " None. Write it, or leave the key out."
            )
        values = checked(Block, required | block, source, f"{kind}.")
        own = values.get("settings") or {}
        _check_settings(own, kind, f"{kind}.", source)
        values |= {
            "methods": _methods_of(values["methods"], path),
            "settings": lay_over(base, own),
            **given,
        }
        found.append(construct(Block, values))
    return CellFile(source, found, _laid_last(assignments), head.seconds_per_pass)


def _base_values(head: _Head, path: Path, delta: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings under all cells of a file: its base, its settings, then ``delta``.

    Raises:
        ConfigError: If one of them is wrong.
    """
    source = f"'settings' of {shown(path)}"
    own = checked(RunConfig, head.settings or {}, source)  # before anything looks into it
    start = None if head.base is None else base_file(head.base, path.parent)
    values = lay_over(load_config(start).to_dict(), own)
    if values["data"]["train_file"] is not None and values["task"] in TASKS:
        del values["task"]  # the default; the block names the cells' own
        values = name_own_files(values)
    RunConfig.from_dict(values, source)
    given = checked(RunConfig, delta or {}, "the command line", form=BY_FLAG)
    return lay_over(values, name_own_files(given))


def _check_settings(settings: Mapping[Any, Any] | None, kind: str, prefix: str, source: str) -> None:
    for key in settings or ():
        if key in _OF_CELLS:
            raise ConfigError(
                f"Wrong key '{prefix}settings.{key}' in {source}: expected it in the section {kind!r},"
                " got it for all cells. Move it."
            )
        if prefix and key == "output_dir":
            raise ConfigError(
                f"Wrong key '{prefix}settings.output_dir' in {source}: expected one folder for all cells,"
                " got one of a block. Move it to the file's settings, or pass --output-dir."
            )


def _methods_of(methods: object, path: Path) -> Mapping[Any, Any]:
    if isinstance(methods, str):  # of a file that holds them
        methods = read_yaml(path.parent / methods)
    if not isinstance(methods, Mapping) or not methods:
        raise ConfigError(
            f"Wrong key 'methods' in {shown(path)}: expected label -> settings, or a file of them, got"
            f" {shown(methods)}. Write for example methods: {{vanilla: {{}}}}."
        )
    return methods


def _laid_last(assignments: Iterable[str]) -> dict[str, Any]:
    last = checked_assignments(assignments)
    for key in _OF_CELLS:
        if key in last:
            raise ConfigError(
                f"'{key}' cannot be set for all cells: expected --set of what cells have in common, got"
                f" {shown(f'{key}={last[key]}')}. Pass {FLAGS[key]}, or change the file."
            )
    return last
