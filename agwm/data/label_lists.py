"""Cells that hold a list of labels: lists of typed files, and lists written as text."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from agwm.data._labels import spell
from agwm.data.tables import Table
from agwm.errors import DataError, reason, shown

__all__ = ["as_list", "read_lists"]

_SEPARATORS = (";", "|", ",")  # the first that is in a cell is taken
Read = Callable[[Any, str], list]


def as_list(cell: Any) -> list | None:
    """Return a list, tuple, array or tensor as a list; None if the cell is none of them."""
    if isinstance(cell, (np.ndarray, Tensor)) and cell.ndim == 1:
        return cell.tolist()
    return list(cell) if isinstance(cell, (list, tuple)) else None


def read_lists(tables: Sequence[Table], column: str, notes: list[str]) -> list[list[list]]:
    """Return the list of each row of each table. The training rows tell how lists are written.

    An empty cell is an empty list.

    Args:
        tables: The training rows, and the test rows if there are some.
        column: The label column.
        notes: Notes on the training rows; what was taken is added.

    Raises:
        DataError: If some cells are lists and others are not, or a list in text is damaged.
    """
    cells = tables[0].columns[column]
    read: Read
    if any(as_list(cell) is not None for cell in cells):
        read = _typed
    elif any(isinstance(cell, str) and cell.strip().startswith("[") for cell in cells):
        read = _written
        notes.append(f"column {shown(column, 40)} holds lists written as text")
    else:
        texts = [cell for cell in cells if isinstance(cell, str)]
        mark = next((one for one in _SEPARATORS if any(one in text for text in texts)), None)
        told = f"separated by {mark!r}" if mark else "one a row at most: no cell has ;, | or ,"
        notes.append(f"labels of column {shown(column, 40)} are {told}")
        read = _separated(mark)
    return [
        [
            [] if _is_nothing(cell) else read(cell, table.at(row))
            for row, cell in enumerate(table.columns[column])
        ]
        for table in tables
    ]


def _is_nothing(cell: Any) -> bool:
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float) and bool(np.isnan(cell)))


def _separated(mark: str | None) -> Read:
    def separate(cell: Any, where: str) -> list:
        text = spell(cell, where) or ""
        return [part.strip() for part in (text.split(mark) if mark else [text]) if part.strip()]

    return separate


def _typed(cell: Any, where: str) -> list:
    """Return the list that a cell is.

    Raises:
        DataError: If it is none.
    """
    found = as_list(cell)
    if found is None:
        raise DataError(
            f"The label in {where} is no list: expected a list as in other rows, got {shown(cell, 80)}."
            " Write a list in each row."
        )
    return found


def _written(cell: Any, where: str) -> list:
    """Return the list that a text holds.

    Raises:
        DataError: If it holds none.
    """
    text = spell(cell, where) or ""
    try:
        try:
            found = json.loads(text)
        except ValueError:
            found = ast.literal_eval(text)  # pandas writes lists into CSV as Python does
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise DataError(
            f'The label in {where} is no list: expected one such as ["a", "b"], got {shown(text, 80)}'
            f" ({reason(error)}). Write it as JSON."
        ) from None
    return _typed(found, where)
