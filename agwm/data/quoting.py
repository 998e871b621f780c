"""Doubts about quotes in tables of text: files that a library reads without an error, and wrongly."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from agwm.data._labels import is_fraction, is_number
from agwm.data.tables import counted
from agwm.errors import DataError, shown

__all__ = ["Row", "check_spans", "count_stray_quotes", "is_written_with_quotes"]

_BREAK = re.compile(r"\r\n|\n|\r")


class Row(NamedTuple):
    """Row of a table: the line where it begins, its cells, and its own text."""

    line: int
    cells: list[str]
    raw: str


def check_spans(rows: Sequence[Row], label: int | None, separator: str, place: str) -> str | None:
    """Raise where a text of several lines holds rows of the table: a stray quote swallowed them.

    Lines of a real text have no label where the table has one.

    Args:
        rows: Rows below the header.
        label: Position of the label; None: there is none, and nothing to tell rows by.
        separator: Mark between cells.
        place: The file, for messages.

    Returns:
        A note on rows that span several lines, if there are any.

    Raises:
        DataError: If a line of a cell looks like a row.
    """
    long = [row for row in rows if any("\n" in cell or "\r" in cell for cell in row.cells)]
    if not long:
        return None
    if label is None:
        return _span_note(long)
    labels = {row.cells[label] for row in rows if row.cells[label].strip()}
    has_scores = any(map(is_fraction, labels))
    for row in long:
        for position, cell in enumerate(row.cells):
            line = _row_inside(row.cells, position, label, separator, labels, has_scores)
            if line is not None:
                raise DataError(
                    f"A text in {place} line {row.line} spans {_lines(cell)} lines that look like rows:"
                    f" expected one example, got {shown(line, 80)} inside of it. Close the quote that opens"
                    " it, or write it twice."
                )
        if _lines(row.cells[label]) > 1:
            raise DataError(
                f"The label in {place} line {row.line} spans {_lines(row.cells[label])} lines: expected"
                f" one, got {shown(row.cells[label], 80)}. Is a quote not closed?"
            )
    return _span_note(long)


def _span_note(rows: Sequence[Row]) -> str:
    longest, before = max((max(map(_lines, row.cells)), -row.line) for row in rows)
    rows_of = counted(len(rows), "row")
    return f"{rows_of} of several lines; the longest, {longest} lines, begins in line {-before}"


def _lines(cell: str) -> int:
    return len(_BREAK.split(cell))


def _row_inside(
    cells: Sequence[str],
    position: int,
    label: int,
    separator: str,
    labels: Collection[str],
    has_scores: bool,
) -> str | None:
    """Return the first line of a cell that by itself is a row of the table."""
    lines = _BREAK.split(cells[position])
    if len(lines) == 1 or position == label:
        return None
    parts = [line.split(separator) for line in lines]
    # The first line shares its row with the cells before, the last with the cells after: these hold a
    # label anyway where the label's column is among them.
    parts[0] = [*cells[:position], *parts[0]] if label > position else []
    parts[-1] = [*parts[-1], *cells[position + 1 :]] if label < position else []
    for line, part in zip(lines, parts, strict=True):
        # "1, milk": a blank after a comma is a sentence's
        if len(part) == len(cells) and not any(cell[:1] == " " for cell in part[1:] if cell != part[label]):
            if part[label] in labels or (has_scores and is_number(part[label])):
                return line
    return None


def count_stray_quotes(
    rows: Sequence[Row], positions: Sequence[int], label: int | None, place: str
) -> str | None:
    """Raise where labels hold a stray quote, and where a blank keeps a quote from being one.

    Args:
        rows: Rows below the header, read with quotes.
        positions: Columns to look at.
        label: Position of the label; None: there is none.
        place: The file, for messages.

    Returns:
        A note on texts that hold a quote without standing in quotes (inches, say), if there are any.

    Raises:
        DataError: If a label holds such a quote, or a blank stands between a separator and a quote.
    """
    found = []
    for row in rows:
        for position in positions if '"' in row.raw else ():
            cell = row.cells[position]
            if '"' not in cell or _in_quotes(cell) in row.raw:
                continue
            bare = cell.strip()
            if cell[0] != '"' and len(bare) > 1 and bare[0] == bare[-1] == '"':
                raise DataError(
                    f"A blank before a quote in {place} line {row.line}: expected the quote first, got"
                    f" {shown(cell, 80)}. Remove the blanks after the separators."
                )
            if position == label:
                raise DataError(
                    f"A quote in the label in {place} line {row.line}: expected quotes in pairs around it,"
                    f" got {shown(cell, 80)}. Remove the quote."
                )
            found.append(row.line)
    if not found:
        return None
    return f"{counted(len(found), 'text')} with a quote, not in quotes; the first in line {found[0]}"


def is_written_with_quotes(rows: Sequence[Row], separator: str) -> bool:
    """Return whether a program that quotes cells by one of the usual rules wrote a table.

    Args:
        rows: All rows, read with quotes.
        separator: Mark between cells.
    """
    needs_quotes = re.compile(f'[{re.escape(separator)}"\r\n]').search
    rules: tuple[Callable[[str], object], ...] = (
        needs_quotes,
        lambda cell: needs_quotes(cell) or "," in cell,  # Excel
        lambda cell: True,
        lambda cell: not is_number(cell),
    )
    return any(
        all(
            row.raw.rstrip("\r\n")
            == separator.join(_in_quotes(cell) if rule(cell) else cell for cell in row.cells)
            for row in rows
        )
        for rule in rules
    )


def _in_quotes(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'
