"""Decide whether the labels of a file are classes or scores, and convert them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agwm.data._labels import class_index, finite_number
from agwm.errors import DataError

__all__ = ["RawLabel", "convert_labels", "infer_labels"]

RawLabel = str | int | float | bool | None


def _as_int(cell: RawLabel) -> int | None:
    """Return the whole number that a cell holds, or None."""
    if isinstance(cell, bool) or not isinstance(cell, (str, int)):
        return None
    try:
        return int(cell)
    except ValueError:
        return None


def _is_number(cell: RawLabel) -> bool:
    if isinstance(cell, bool) or cell is None:
        return False
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def _check_present(cells: Sequence[RawLabel], path: Path) -> None:
    for row, cell in enumerate(cells, start=1):
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            raise DataError(f"No label in {path} example {row}: expected a label, got {cell!r}.")


def _text(cell: RawLabel) -> str:
    return cell.strip() if isinstance(cell, str) else str(cell)


def infer_labels(
    cells: Sequence[RawLabel],
    path: Path,
    label_names: Sequence[str] | None = None,
    regression: bool | None = None,
) -> tuple[str, ...] | None:
    """Find the classes of a task from its training labels.

    Args:
        cells: Labels of the training file.
        path: The file, for messages.
        label_names: The classes, if the user states them.
        regression: True for scores, False for classes, None to tell from the labels.

    Returns:
        The class names in index order (whole numbers by value, texts by code point), or None
        for regression.

    Raises:
        DataError: If a label is missing, or all labels are one class.
    """
    _check_present(cells, path)
    if label_names is not None:
        return tuple(label_names)
    whole = all(_as_int(cell) is not None for cell in cells)
    if regression is None:
        regression = not whole and all(_is_number(cell) for cell in cells)
    if regression:
        return None
    if whole:
        names = tuple(str(value) for value in sorted({int(str(cell)) for cell in cells}))
    else:
        names = tuple(sorted({_text(cell) for cell in cells}))
    if len(names) < 2:
        raise DataError(
            f"All {len(cells)} labels in {path} are {names[0]!r}: expected two or more classes. "
            "Pass label_names or regression=True."
        )
    return names


def convert_labels(
    cells: Sequence[RawLabel], path: Path, names: tuple[str, ...] | None, hint: str = ""
) -> list[int] | list[float]:
    """Turn labels into class indices, or finite numbers for regression.

    Args:
        cells: Labels of a file.
        path: The file, for messages.
        names: The classes, or None for regression.
        hint: Text to add to the message about an unknown label.

    Returns:
        One number per example. A whole number that is no class name is taken as an index.

    Raises:
        DataError: If a label is missing, unknown, or no finite number.
    """
    _check_present(cells, path)
    if names is None:
        return [finite_number(cell, f"{path} example {row}") for row, cell in enumerate(cells, start=1)]
    numeric = all(_as_int(name) is not None for name in names)
    values = []
    for row, cell in enumerate(cells, start=1):
        whole = _as_int(cell)
        text = str(whole) if numeric and whole is not None else _text(cell)
        if text not in names and not numeric and whole is not None and 0 <= whole < len(names):
            values.append(whole)
            continue
        try:
            values.append(class_index(text, names, f"{path} example {row}"))
        except DataError as error:
            raise DataError(f"{error}{hint}") from None
    return values
