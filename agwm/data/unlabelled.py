"""Texts to be predicted: rows of a file with all its columns, or lines of standard input."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agwm.data._labels import is_number
from agwm.data._texts import read_texts
from agwm.data.decoding import decode
from agwm.data.file_bytes import file_place
from agwm.data.table_files import read_tables
from agwm.data.tables import Table, column_index, counted
from agwm.errors import DataError, border, shown, with_advice

__all__ = ["STANDARD_INPUT", "Unlabelled", "read_unlabelled"]

STANDARD_INPUT = "standard input"
_LINES = "Write one text a line."


@dataclass(frozen=True)
class Unlabelled:
    """Texts in the order of their file.

    Attributes:
        texts: One or two texts of each row.
        table: All columns of the file, cell by cell as it types them; None: lines of standard input.
        file: Name of the file, as messages have it.
        text_columns: Names of the columns of the texts; empty for lines.
        notes: What the reader found, chose or left out; a short line each.
    """

    texts: list[tuple[str, ...]]
    table: dict[str, list] | None
    file: str
    text_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_unlabelled(
    path: str | Path | None,
    text_columns: Sequence[str] | None = None,
    encoding: str | None = None,
    separator: str | None = None,
    sheet: str | None = None,
    stdin: BinaryIO | None = None,
    *,
    expected: Sequence[str] = (),
) -> Unlabelled:
    """Read texts to be predicted, row by row; none is left out.

    Files are read as :func:`agwm.data.load_files` reads them. A missing text counts as an empty one, and
    both are told. Where nobody names a column, the expected ones are taken; and if the file lacks them, the
    only column of texts that it has, which is told.

    Args:
        path: The file; None: lines of standard input, a text each, or two with a tab between.
        text_columns: One or two columns of text, as the user names them; None: see above.
        encoding: Encoding of text files and of standard input; None: UTF-8, or by the byte order mark.
        separator: Mark between the cells of CSV and TSV files; None: found by the header.
        sheet: Sheet of Excel files; None: the first.
        stdin: The bytes to read in place of a file.
        expected: Names of the columns of the model; their number is that of the texts of a row.

    Raises:
        DataError: If the file or a column is missing or wrong, or nobody says which column holds texts.
        MissingExtraError: If a file is of Excel, and openpyxl is not installed.
    """
    if path is None:
        _check_no_table(text_columns, separator, sheet)
        return _read_lines(stdin, encoding, max(1, len(expected)))
    file = Path(path)
    known = list(text_columns or expected)
    (table,) = read_tables([file], known, encoding, separator, sheet, every=True)
    columns, notes = (list(text_columns), []) if text_columns else _choose(table, expected)
    if len(columns) not in (1, 2) or len(set(columns)) < len(columns):
        raise DataError(f"Wrong text columns: expected one or two different ones, got {shown(columns)}.")
    parts = []
    for name in columns:
        column_index(list(table.columns), name, table.file)
        texts, found = read_texts(_filled(table, name), name, len(columns) > 1)
        missing = sum(cell is None for cell in table.columns[name])
        notes += [f"{counted(missing, 'missing text')} read as empty"] if missing else []
        notes += found
        parts.append(texts)
    rows = list(zip(*parts, strict=True))
    return Unlabelled(rows, table.columns, file_place(file.name), tuple(columns), (*table.notes, *notes))


def _choose(table: Table, expected: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns of texts where nobody named them, and a note on what was taken.

    Raises:
        DataError: If there is more than one choice, or none.
    """
    if expected and set(expected) <= set(table.columns):
        return list(expected), []
    found = [name for name, cells in table.columns.items() if _holds_texts(cells)]
    if len(found) == 1 and len(expected) <= 1:
        return found, [f"its one column of texts, {shown(found[0], 40)}, was taken"]
    if expected:
        for name in expected:
            try:
                column_index(list(table.columns), name, table.file)
            except DataError as error:
                words = {"Correct the name of the column": "Name the columns of texts by --text"}
                raise DataError(with_advice(str(error), words)) from None
    got = ", ".join(shown(name, 40) for name in list(table.columns)[:12])
    raise DataError(
        f"Nobody says which column of {table.file} holds the texts: expected its name, got the columns"
        f" {got}. Name it by --text."
    )


def _holds_texts(cells: Sequence[object]) -> bool:
    texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    return bool(texts) and not all(map(is_number, texts))


def _filled(table: Table, column: str) -> Table:
    """Return a table with empty texts for missing ones."""
    cells = ["" if cell is None else cell for cell in table.columns[column]]
    return Table(table.file, {column: cells}, lines=table.lines, unit=table.unit)


def _check_no_table(text_columns: Sequence[str] | None, separator: str | None, sheet: str | None) -> None:
    """Raise if an option of files was given with standard input.

    Raises:
        DataError: If one was.
    """
    for option, value in (("text", text_columns), ("separator", separator), ("sheet", sheet)):
        if value is not None:
            raise DataError(
                f"Standard input has no columns: expected lines of text and no --{option}, got"
                f" {shown(value, 80)}. Name a file, or leave --{option} out."
            )


def _read_lines(stdin: BinaryIO | None, encoding: str | None, num_texts: int) -> Unlabelled:
    """Read lines, of which each is a text, or two with a tab between.

    Raises:
        DataError: If there is no line, or a line of pairs has not one tab.
    """
    with border(STANDARD_INPUT, "lines of text", _LINES):
        data = b"" if stdin is None else stdin.read()
    text, notes = decode(data, STANDARD_INPUT, encoding)
    lines = re.split("\r\n|\n|\r", text)
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{STANDARD_INPUT} is empty: expected one text a line, got none. Write some.")
    rows: list[tuple[str, ...]] = [(line,) for line in lines]
    if num_texts == 2:
        rows = [tuple(line.split("\t")) for line in lines]
        for place, row in enumerate(rows, start=1):
            if len(row) != 2:
                raise DataError(
                    f"{STANDARD_INPUT} line {place} is no pair: expected two texts with a tab between, got"
                    f" {counted(len(row) - 1, 'tab')} in {shown(lines[place - 1], 80)}. Correct the line."
                )
    columns = {str(place): [row[place] for row in rows] for place in range(num_texts)}
    table = Table(STANDARD_INPUT, columns, lines=range(1, len(rows) + 1))
    for name in columns:
        notes = notes + read_texts(table, name)[1]
    return Unlabelled(rows, None, STANDARD_INPUT, (), tuple(notes))
