"""Read JSON: lines, an array of objects, and the shapes that ``pandas.DataFrame.to_json`` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from agwm.data.tables import Table, column_index
from agwm.errors import DataError, border, shown

__all__ = ["read_json_rows"]

_BLANK = re.compile(r"[ \t\r\n]*")
_SHAPES = "Write one object per line, or an array of objects."


def read_json_rows(text: str, place: str, columns: Sequence[str], every: bool = False) -> Table:
    """Read the columns of rows in JSON.

    Args:
        text: The whole file.
        place: The file, for messages.
        columns: Columns to keep; the last is the label.
        every: Keep all columns, of which none is a label; a row may lack some, which are None there.

    Returns:
        The columns, with values as JSON types them.

    Raises:
        DataError: If the text is no JSON, has no rows, or a row lacks a column.
    """
    repeated: list[tuple[str, dict]] = []
    with border(place, "JSON", _SHAPES):  # numbers of too many digits, values nested too deeply
        values = _values(text, place, repeated)
    if every:
        columns = _known(values, columns)
    rows, note = _rows(values, place, columns)
    for key, owner in repeated:
        where = next((f" example {n}" for n, row in enumerate(rows, start=1) if row is owner), "")
        raise DataError(
            f"{place}{where} repeats key {shown(key, 80)} in one object: expected each once. Rename or"
            " remove one."
        )
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(
                f"{place} example {number} is no object: expected one with the names of the columns, got"
                f" {shown(row, 80)}. {_SHAPES}"
            )
        for name in () if every else columns:
            if name not in row:
                column_index(list(row), name, f"{place} example {number}")
    if every:
        columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = {name: [row.get(name) for row in rows] for name in columns}
    return Table(place, cells, () if note is None else (note,))


def _known(values: list[Any], columns: Sequence[str]) -> Sequence[str]:
    """Return the names of all columns of a table that is written by column; else those that are given."""
    value = values[0] if len(values) == 1 else None
    if not isinstance(value, dict) or not value or {"columns", "data"} <= set(value):
        return columns
    parts = list(value.values())
    are_lists = all(isinstance(one, list) and not any(isinstance(x, dict) for x in one) for one in parts)
    are_objects = all(isinstance(one, dict) for one in parts)
    are_rows = are_objects and bool(columns) and all(set(columns) <= set(one) for one in parts)
    return list(value) if are_lists or (are_objects and not are_rows) else columns


def _values(text: str, place: str, repeated: list[tuple[str, dict]]) -> list[Any]:
    """Return the values that stand one after the other: one, or as many as there are lines.

    Raises:
        DataError: If the text is no JSON.
    """

    def gather(pairs: list[tuple[str, Any]]) -> dict:
        made = dict(pairs)
        if len(made) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated.append((next(key for key in keys if keys.count(key) > 1), made))
        return made

    decoder = json.JSONDecoder(object_pairs_hook=gather)
    values: list[Any] = []
    position = _end(text, 0)
    try:
        while position < len(text):
            value, position = decoder.raw_decode(text, position)
            values.append(value)
            position = _end(text, position)
    except json.JSONDecodeError as error:
        raise DataError(
            f"Cannot read {place} as json: expected what JSON has in line {error.lineno} column"
            f" {error.colno}, got {shown(text[error.pos : error.pos + 40])} ({error.msg}). {_SHAPES}"
        ) from None
    return values


def _end(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    return position if blank is None else blank.end()


def _rows(values: list[Any], place: str, columns: Sequence[str]) -> tuple[list[Any], str | None]:
    """Return the rows in any of the known shapes, and a note unless they simply stand there.

    Raises:
        DataError: If the shape is unknown, or there are several lists to choose from.
    """
    if len(values) != 1:
        return values, None
    (value,) = values
    if isinstance(value, list):
        return value, None
    if not isinstance(value, dict):
        raise DataError(f"{place} has no rows: expected objects, got {shown(value, 80)}. {_SHAPES}")
    if {"columns", "data"} <= set(value) <= {"columns", "data", "index"}:
        return _split_rows(value, place), "rows under 'data', names under 'columns'"
    if columns and set(columns) <= set(value):
        whole = [value[name] for name in columns]
        for kind in (dict, list):
            if all(isinstance(one, kind) for one in whole):
                return _column_rows(value, place, columns, kind), "one list of values per column"
        return values, None
    lists = [key for key, one in value.items() if isinstance(one, list)]
    if len(lists) > 1:
        raise DataError(
            f"{place} holds several lists: expected one, of the rows, got"
            f" {', '.join(shown(key, 40) for key in lists[:5])}. {_SHAPES}"
        )
    if lists:
        return value[lists[0]], f"rows under {shown(lists[0], 40)}"
    if value and all(isinstance(one, dict) and set(columns) <= set(one) for one in value.values()):
        return list(value.values()), "one object per key"
    return values, None


def _split_rows(value: dict[str, Any], place: str) -> list[dict]:
    names, rows = value["columns"], value["data"]
    if not (isinstance(names, list) and isinstance(rows, list)):
        raise DataError(f"{place} has no rows: expected lists as 'columns' and 'data'. {_SHAPES}")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(names):
            got = len(row) if isinstance(row, list) else shown(row, 80)
            raise DataError(
                f"Wrong number of columns in {place} example {number}: expected {len(names)}, got {got}."
            )
    return [dict(zip(map(str, names), row, strict=True)) for row in rows]


def _column_rows(value: dict[str, Any], place: str, columns: Sequence[str], kind: type) -> list[dict]:
    """Return the rows of a table that is written by column: values by index, or in order.

    Raises:
        DataError: If columns have other rows than the first.
    """
    parts = {name: value[name] for name in columns}
    keys = [list(part) if kind is dict else list(range(len(part))) for part in parts.values()]
    for name, own in zip(columns, keys, strict=True):
        if set(own) != set(keys[0]):
            raise DataError(
                f"Columns of {place} differ in their rows: expected {len(keys[0])} as in"
                f" {shown(columns[0], 40)}, got {len(own)} others in {shown(name, 40)}. Write it again."
            )
    return [{name: part[key] for name, part in parts.items()} for key in keys[0]]
