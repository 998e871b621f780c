"""Classes that a file or a data set names itself: ``ClassLabel`` of ``datasets``, alone or in lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets

from agwm.errors import DataError

__all__ = ["named_cells"]


def named_cells(cells: Sequence[Any], feature: Any, place: str) -> tuple[list[Any], tuple[str, ...] | None]:
    """Return labels with the names of their classes in place of the numbers, and all names.

    Args:
        cells: The labels, or lists of them.
        feature: The column's feature; None: the file has none.
        place: The file, for messages.

    Returns:
        The labels as they are, and None, if the feature has no names.

    Raises:
        DataError: If a number is that of no class, as the -1 of examples without a label.
    """
    inner = feature.feature if isinstance(feature, datasets.List) else feature
    if not isinstance(inner, datasets.ClassLabel):
        return list(cells), None
    names = tuple(inner.names)
    found: list[Any] = []
    for row, cell in enumerate(cells, start=1):
        where = f"{place} example {row}"
        if isinstance(cell, list):
            found.append([_name(one, names, where) for one in cell])
        else:
            found.append(_name(cell, names, where))
    return found, names


def _name(cell: int | None, names: Sequence[str], place: str) -> str | None:
    """Return the name of a class by its number.

    Raises:
        DataError: If the number is that of no class.
    """
    if cell is None:
        return None
    if not 0 <= cell < len(names):
        raise DataError(
            f"No class in {place}: expected a label from 0 to {len(names) - 1}, got {cell}. Remove examples"
            " without a label."
        )
    return names[cell]
