"""Files of the package by their names: ``demo``, ``minilm.yaml``, ``paper/glue_lowres.yaml``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from agwm.errors import ConfigError, close_names, shown

__all__ = ["FOLDER", "base_file", "config_file", "config_names"]

FOLDER = Path(__file__).resolve().parent
_MARK = "configs/"  # where the files lie in the repository


def config_names() -> dict[str, Path]:
    """Return the name of each config of the package, relative to its folder, and its file."""
    return {path.relative_to(FOLDER).as_posix(): path for path in sorted(FOLDER.rglob("*.yaml"))}


def config_file(name: str) -> Path:
    """Return the user's own file of that name, or else the package's.

    Args:
        name: A path; or the name of a config of the package, with or without ``.yaml`` and ``configs/``.

    Raises:
        ConfigError: If neither is there.

    Example:
        >>> config_file("grids/minilm") == FOLDER / "grids" / "minilm.yaml"
        True
    """
    if _is_there(Path(name)):
        return Path(name)
    found, short, known = _of_package(name), _short(name), config_names()
    if found is not None:
        return found
    raise ConfigError(
        f"Cannot read config {shown(name)}: expected a file, or one of the package's, got neither."
        f"{close_names(short, known)} The package has {', '.join(known)}."
    )


def base_file(name: str, beside: Path) -> Path:
    """Return the file that a config names as its base: one beside it, or else the package's of that name.

    Args:
        name: What the config writes: a path, or the name of a config of the package.
        beside: Folder of the config that names it.

    Example:
        >>> base_file("minilm", Path("no/folder")) == FOLDER / "minilm.yaml"
        True
    """
    path = beside / name
    return path if _is_there(path) else _of_package(name) or path


def _is_there(path: Path) -> bool:
    with suppress(OSError, ValueError):  # too long for a path, or with a NUL
        return path.exists() and not path.is_dir()
    return False


def _short(name: str) -> str:
    return name.removeprefix(f"agwm/{_MARK}").removeprefix(_MARK)


def _of_package(name: str) -> Path | None:
    known, short = config_names(), _short(name)
    return known.get(short) or known.get(f"{short}.yaml")
