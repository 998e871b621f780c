"""Turn the label cells of a file into class indices or finite numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from agwm.errors import DataError

__all__ = ["class_index", "finite_number"]


def class_index(cell: str, spellings: Sequence[str], where: str) -> int:
    """Return the index of a label among its spellings.

    Args:
        cell: The label as it stands in the file.
        spellings: The valid labels in index order.
        where: File and row, for the message.

    Returns:
        The class index.

    Raises:
        DataError: If the label has no known spelling.
    """
    if cell not in spellings:
        known = ", ".join(repr(s) for s in spellings[:5]) + (", ..." if len(spellings) > 5 else "")
        raise DataError(f"Unknown label in {where}: expected one of {known}, got {cell!r}.")
    return spellings.index(cell)


def finite_number(cell: object, where: str) -> float:
    """Return a regression label as a float.

    Args:
        cell: The label as it stands in the file: text or number.
        where: File and row, for the message.

    Returns:
        A finite float.

    Raises:
        DataError: If the label is no number, or is NaN or infinite.
    """
    try:
        value = float(cell)  # type: ignore[arg-type]  # anything else raises TypeError
    except (TypeError, ValueError):
        raise DataError(
            f"The label in {where} is not a number: expected a finite score, got {cell!r}."
        ) from None
    if not math.isfinite(value):
        raise DataError(f"The label in {where} is not finite: expected a score, got {cell!r}.")
    return value
