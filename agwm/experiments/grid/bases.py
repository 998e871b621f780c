"""Read a grid or tuning file: its blocks of cells, and the settings under all of them.

Own files that the command line names take the place of all tasks and sizes of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agwm.configs.packaged import base_file
from agwm.data.tasks import TASKS
from agwm.errors import ConfigError, shown
from agwm.experiments.config import BY_FLAG, RunConfig, load_config, name_own_files
from agwm.experiments.grid.keys import check_keys, section_settings
from agwm.experiments.yaml_files import checked, lay_over, read_yaml

__all__ = ["AXES", "read_blocks"]

AXES = ("tasks", "train_sizes", "models")
_Values = dict[str, Any]


def read_blocks(
    path: Path, kind: str, delta: Mapping[str, Any] | None, more: tuple[str, ...] = ()
) -> tuple[_Values, _Values, list[_Values]]:
    """Read a file of blocks of cells.

    Args:
        path: The file.
        kind: Key of its blocks: ``"grid"`` or ``"tune"``.
        delta: Nested mapping laid over base and settings.
        more: Other keys that it may have.

    Returns:
        Its content, the settings under all cells, and the blocks.

    Raises:
        ConfigError: If a key is unknown, the settings are wrong, or there is no block.
    """
    content = read_yaml(path)
    check_keys(content, ("base", "settings", kind, *more), path)
    blocks = content.get(kind)
    blocks = [blocks] if isinstance(blocks, dict) else blocks
    if not isinstance(blocks, list) or not blocks or not all(isinstance(one, dict) for one in blocks):
        raise ConfigError(
            f"File {shown(path)} has no cells: expected a section {kind!r}, or a list of them, got"
            f" {shown(blocks)}. Write {kind}: with tasks, train_sizes, models, seeds and methods."
        )
    for block in blocks:
        check_keys(block, (*AXES, "seeds", "settings", "methods"), path, f"{kind}.")
    base = _base_values(content, path, delta)
    if (delta or {}).get("data", {}).get("train_file"):
        if len(blocks) > 1:
            raise ConfigError(
                f"Own files are one task: expected {shown(path)} to have one block of cells beside"
                f" --train-file, got {len(blocks)}. Copy the one whose settings fit into a file."
            )
        blocks = [{**blocks[0], "tasks": [base["task"]], "train_sizes": [base["train_size"]]}]
    return content, base, blocks


def _base_values(content: Mapping[str, Any], path: Path, delta: Mapping[str, Any] | None) -> _Values:
    """Return the settings under all cells of a file: its base, its settings, then ``delta``.

    Raises:
        ConfigError: If one of them is wrong.
    """
    base = content.get("base")
    if base is not None and not isinstance(base, str):
        raise ConfigError(
            f"Wrong key 'base' in {shown(path)}: expected a file name, got {shown(base)}. Correct it."
        )
    start = None if base is None else base_file(base, path.parent)
    source = f"'settings' of {shown(path)}"
    own = checked(RunConfig, section_settings(content, path), source)  # before anything looks into it
    values = lay_over(load_config(start).to_dict(), own)
    if values["data"]["train_file"] is not None and values["task"] in TASKS:
        del values["task"]  # the default; the block names the cells' own
        values = name_own_files(values)
    RunConfig.from_dict(values, source)
    given = checked(RunConfig, delta or {}, "the command line", form=BY_FLAG)
    return lay_over(values, name_own_files(given))
