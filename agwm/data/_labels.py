"""Labels one by one: their spelling, their class, their number."""

from __future__ import annotations

import datetime
import math
import numbers
import re
from collections.abc import Sequence
from decimal import Decimal

from agwm.errors import DataError, close_names, shown

__all__ = [
    "class_index",
    "finite_number",
    "is_fraction",
    "is_number",
    "is_rounded",
    "is_whole",
    "spell",
    "whole_spelling",
]

# ASCII only, unlike int() and float(), which also read "1_0" and digits of other scripts.
_WHOLE = re.compile(r"[+-]?[0-9]{1,100}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_INFINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_LARGEST = 2**53  # floats above it stand for several whole numbers
_SPELLED = (
    str,
    bool,
    numbers.Real,
    Decimal,
    datetime.date,
    datetime.time,
    datetime.timedelta,
)


def spell(cell: object, place: str) -> str | None:
    """Return a label as text, as it is written but for blanks around it; None where there is none.

    Args:
        cell: The label as its file types it.
        place: File and row, for the message.

    Raises:
        DataError: If it is a list, an object, or bytes that are no text.
    """
    if isinstance(cell, bytes):
        try:
            cell = cell.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(
                f"The label in {place} is no text: expected UTF-8, got the bytes {shown(cell, 80)}. Write"
                " labels as text."
            ) from None
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, (list, tuple)):
        raise DataError(
            f"The label in {place} is a list: expected one label an example, got {shown(cell, 80)}. Write"
            " one label, or pass multi_label=True."
        )
    if not isinstance(cell, _SPELLED):
        raise DataError(
            f"The label in {place} is of type {type(cell).__name__}: expected one text or number, got"
            f" {shown(cell, 80)}. Write one label an example."
        )
    text = (repr(float(cell)) if isinstance(cell, float) else str(cell)).strip()
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise DataError(
            f"The label in {place} is no text: expected whole letters, got half of a surrogate pair in"
            f" {shown(text, 80)}. Write the row again."
        )
    return text or None


def is_whole(text: str) -> bool:
    """Return whether a label is a whole number, written without a fraction."""
    return _WHOLE.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Return whether a label is a number, be it NaN or infinite."""
    return (_NUMBER.fullmatch(text) or _INFINITE.fullmatch(text)) is not None


def is_fraction(text: str) -> bool:
    """Return whether a label is a number, and not a whole one."""
    return is_number(text) and not is_whole(text) and _whole_value(text) is None


def is_rounded(text: str) -> bool:
    """Return whether a label is a float so large that whole numbers beside it are written alike."""
    value = _whole_value(text)
    return value is not None and abs(value) >= _LARGEST


def whole_spelling(text: str) -> str | None:
    """Return ``"1"`` for ``"1.0"``: the whole number that a number with a point or an exponent is.

    Example:
        >>> whole_spelling("1.0"), whole_spelling("1e2"), whole_spelling("1.5"), whole_spelling("one")
        ('1', '100', None, None)
    """
    value = _whole_value(text)
    return None if value is None or abs(value) >= _LARGEST else str(int(value))


def _whole_value(text: str) -> Decimal | None:
    if is_whole(text) or not _NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    return value if value == value.to_integral_value() else None


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
        known = ", ".join(shown(s, 40) for s in spellings[:5]) + (", ..." if len(spellings) > 5 else "")
        raise DataError(
            f"Unknown label in {where}: expected one of {known}, got {shown(cell, 80)}."
            f"{close_names(cell, spellings)}"
        )
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
    text = spell(cell, where) or ""
    if not is_number(text):
        comma = " Write decimals with a point." if is_number(text.replace(",", ".", 1)) else ""
        raise DataError(
            f"The label in {where} is not a number: expected a finite score, got {shown(cell, 80)}.{comma}"
        )
    value = float(text)
    if not math.isfinite(value):
        raise DataError(f"The label in {where} is not finite: expected a score, got {shown(cell, 80)}.")
    return value
