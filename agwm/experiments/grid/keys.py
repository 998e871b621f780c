"""Check the sections of a grid file, and the settings that the command line lays over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agwm.errors import ConfigError, close_names
from agwm.experiments.yaml_files import lay_over, parse_assignment

__all__ = ["check_keys", "laid_last", "section_settings"]

# Keys that name a cell, so that no settings may hold them -> the flag that chooses cells by them.
_FLAGS = {
    "methods": "--method",
    "task": "--task",
    "model": "--model",
    "train_size": "--train-size",
    "seeds": "--seeds",
}


def check_keys(values: Mapping[str, Any], known: Sequence[str], path: Path, prefix: str = "") -> None:
    """Raise if a section has an unknown key.

    Raises:
        ConfigError: If it does.
    """
    for key in values:
        if key not in known:
            hint = close_names(str(key), known) or f" Known: {', '.join(known)}."
            raise ConfigError(
                f"Unknown key {prefix + str(key)!r} in {path}: expected a key of such a file.{hint}"
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
            f"Wrong key '{prefix}settings' in {path}: expected a section, got {settings!r}. Correct it."
        )
    for key in _FLAGS:
        if key in settings:
            raise ConfigError(
                f"Wrong key '{prefix}settings.{key}' in {path}: expected it in the section 'grid', got it"
                " for all cells. Move it."
            )
    if prefix and "output_dir" in settings:
        raise ConfigError(
            f"Wrong key '{prefix}settings.output_dir' in {path}: expected one folder for all cells, got one"
            " of a block. Move it to the file's settings, or pass --output-dir."
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
        last = lay_over(last, parse_assignment(text))
        for key, flag in _FLAGS.items():
            if key in last:
                raise ConfigError(
                    f"'{key}' cannot be set for all cells: expected --set of what cells have in common, got"
                    f" {text!r}. Pass {flag}, or change the file."
                )
    return last
