"""Check the sections of a grid file, and the settings that the command line lays over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agwm.errors import ConfigError, close_names, shown
from agwm.experiments.config import FLAGS, checked_assignments
from agwm.experiments.yaml_files import lay_over
from agwm.methods import Method
from agwm.nested import flat_settings

__all__ = ["check_keys", "check_used", "laid_last", "section_settings"]

# Keys that name a cell, so that no settings may hold them.
_OF_CELLS = ("methods", "task", "model", "train_size", "seeds")


def check_keys(values: Mapping[str, Any], known: Sequence[str], path: Path, prefix: str = "") -> None:
    """Raise if a section has an unknown key.

    Raises:
        ConfigError: If it does.
    """
    for key in values:
        if key not in known:
            hint = close_names(str(key), known) or f" Known: {', '.join(known)}."
            raise ConfigError(
                f"Unknown key {shown(f'{prefix}{key}')} in {shown(path)}: expected a key of such a"
                f" file.{hint}"
            )


def section_settings(content: Mapping[str, Any], path: Path, prefix: str = "") -> Mapping[str, Any]:
    """Return the section ``settings``; empty if the file has none.

    Args:
        content: The file, or a block of it.
        path: The file, for messages.
        prefix: Dotted path of the block; empty for the file.

    Raises:
        ConfigError: If it is no section, or sets what it cannot.
    """
    settings = content.get("settings") or {}
    if not isinstance(settings, Mapping):
        raise ConfigError(
            f"Wrong key '{prefix}settings' in {shown(path)}: expected a section, got {shown(settings)}."
            " Correct it."
        )
    for key in _OF_CELLS:
        if key in settings:
            raise ConfigError(
                f"Wrong key '{prefix}settings.{key}' in {shown(path)}: expected it in the section 'grid',"
                " got it for all cells. Move it."
            )
    if prefix and "output_dir" in settings:
        raise ConfigError(
            f"Wrong key '{prefix}settings.output_dir' in {shown(path)}: expected one folder for all cells,"
            " got one of a block. Move it to the file's settings, or pass --output-dir."
        )
    return settings


def laid_last(assignments: Iterable[str]) -> dict[str, Any]:
    """Return the settings of ``--set``, which are laid over every cell, as nested mappings.

    Args:
        assignments: Texts such as ``"search.epochs=1"``.

    Raises:
        ConfigError: If a text cannot be read, or sets what names a cell.
    """
    last: dict[str, Any] = {}
    for text in assignments:
        last = lay_over(last, checked_assignments([text]))
        for key in _OF_CELLS:
            if key in last:
                raise ConfigError(
                    f"'{key}' cannot be set for all cells: expected --set of what cells have in common, got"
                    f" {shown(text)}. Pass {FLAGS[key]}, or change the file."
                )
    return last


def check_used(label: str, own: Mapping[str, Any], method: Method, path: Path) -> None:
    """Raise if a label has a setting that its method does not use.

    Raises:
        ConfigError: If they do.
    """
    used = [*method.sections, *([] if method.settings_class is None else [f"rivals.{method.name}"])]
    rivals = [f"rivals.{name}" for name in own.get("rivals", ())]
    for name in (*(name for name in own if name != "rivals"), *rivals, *flat_settings(own)):
        is_used = any(f"{name}.".startswith(f"{section}.") for section in used)
        if not is_used or name in method.unused():
            raise ConfigError(
                f"Setting {shown(f'{label}.{name}')} in {shown(path)} does nothing: expected settings of"
                " method"
                f" {method.name!r}, which uses {', '.join(used)}, got one that it does not read. Remove it."
            )
