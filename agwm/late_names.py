"""Public names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

__all__ = ["late_names"]


def late_names(
    module: MutableMapping[str, Any],
    places: Mapping[str, tuple[str, ...]],
    before: Callable[[str], object] = lambda place: None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the functions ``__getattr__`` and ``__dir__`` of a package.

    Args:
        module: Its ``globals()``. A name that was asked for is kept there.
        places: Module -> the public names in it.
        before: Called with the module that a name is imported from.

    Returns:
        Both functions. The first one knows the modules of the package as well, and raises
        ``AttributeError`` for any other name.
    """
    package = module["__name__"]
    place_of = {name: place for place, names in places.items() for name in names}

    def getattr_(name: str) -> Any:
        if name in place_of:
            before(place_of[name])
            value = getattr(importlib.import_module(place_of[name]), name)
            module[name] = value
            return value
        if not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}") is not None:
            return importlib.import_module(f"{package}.{name}")  # as after an import of that module
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def dir_() -> list[str]:
        return sorted({*module, *module["__all__"]})

    return getattr_, dir_
