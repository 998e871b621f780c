"""Settings under all cells of a grid file: its base, its own settings, the command line's.

Own files that the command line names take the place of all tasks and sizes of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agwm.configs.packaged import base_file
from agwm.data.tasks import TASKS
from agwm.errors import ConfigError, shown
from agwm.experiments.config import BY_FLAG, RunConfig, load_config, name_own_files
from agwm.experiments.grid.keys import section_settings
from agwm.experiments.yaml_files import checked, lay_over

__all__ = ["base_values", "check_one_task", "own_block"]


def base_values(content: Mapping[str, Any], path: Path, delta: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings under all cells of a file: its base, its settings, then ``delta``.

    Raises:
        ConfigError: If the base is no file name.
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


def check_one_task(blocks: Sequence[object], delta: Mapping[str, Any] | None, path: Path) -> None:
    """Raise if blocks for several tasks meet own files, which are one task.

    Raises:
        ConfigError: If they do.
    """
    if _are_own(delta) and len(blocks) > 1:
        raise ConfigError(
            f"Own files are one task: expected {shown(path)} to have one block of cells beside"
            f" --train-file, got {len(blocks)}. Copy the one whose settings fit into a file of your own."
        )


def own_block(
    block: Mapping[str, Any], base: Mapping[str, Any], delta: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """Return a block with the task and size of the command line's own files, if it names any."""
    if not _are_own(delta):
        return block
    return {**block, "tasks": [base["task"]], "train_sizes": [base["train_size"]]}


def _are_own(delta: Mapping[str, Any] | None) -> bool:
    """Return True if the command line names own files."""
    return bool((delta or {}).get("data", {}).get("train_file"))
