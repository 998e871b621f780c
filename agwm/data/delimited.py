"""Read CSV and TSV: Python's ``csv`` module, strictly, and every row counted against the header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from agwm.data.quoting import Row, check_spans, count_stray_quotes, is_written_with_quotes
from agwm.data.tables import Table, column_index, counted, every_column
from agwm.errors import DataError, shown

__all__ = ["read_delimited"]

_SEPARATORS = (",", ";", "\t", "|")
_NAMES = {"tab": "\t", "\\t": "\t"}
_FIRST_LINE = re.compile(r'"?sep=([^"\r\n])"?[,;\t|]*(?=[\r\n])', re.IGNORECASE)
_LONGEST = 2**31 - 1


def read_delimited(
    text: str,
    place: str,
    columns: Sequence[str],
    is_tsv: bool = False,
    separator: str | None = None,
    every: bool = False,
) -> Table:
    """Read the columns of a table in text.

    Cells may stand in quotes, with quotes inside doubled. In a ``.tsv`` quotes are plain characters, as in
    GLUE's files, unless a program that quotes has clearly written the file. Blank rows are left out. A row
    may have neither more nor fewer cells than the header.

    Args:
        text: The whole file.
        place: The file, for messages.
        columns: Columns to keep; the last is the label.
        is_tsv: The name ends in ``.tsv``.
        separator: Mark between cells; None: comma (tab in a ``.tsv``), or the one that shows the columns.
        every: Keep all columns, of which none is a label; ``columns`` then helps to find the separator.

    Returns:
        The columns, all as text.

    Raises:
        DataError: If a column is missing, a row has another number of cells than the header, or quotes do
            not pair.
    """
    notes, usual = [], "\t" if is_tsv else ","
    first = _FIRST_LINE.match(text)
    if first:
        text = text[first.end() :]  # its line end stays, and so do the numbers of lines
    if separator is not None:
        mark, how = _checked(separator), "as asked for"
    elif first:
        mark, how = first[1], "named by the first line"
    else:
        mark, how = _found(text, columns, usual), "found"
    if mark != usual:
        notes.append(f"separator {mark!r} {how}")
    lines = io.StringIO(text, newline="").readlines()
    if is_tsv and separator is None and not first:
        rows, is_quoted = _tab_rows(text, lines, place, mark, columns)
        notes += ["cells in quotes are read as those of a CSV"] if is_quoted else []
    else:
        rows, is_quoted = _quoted_rows(lines, place, mark), True
    kept = [row for row in rows if _has_content(row.cells)]
    if not kept:
        raise DataError(f"{place} has no header: expected names of columns, got blank lines. Add them.")
    header = kept.pop(0)
    at_header = f"The header of {place} (line {header.line})"
    if every:
        columns, positions, found = every_column(header.cells)
        notes += found
    else:
        positions = [column_index(header.cells, name, at_header) for name in columns]
    label = None if every else positions[-1]
    _count_cells(kept, len(header.cells), place, mark, is_quoted)
    unnamed = sum(not name.strip() for name in header.cells)
    last = kept[-1].line if kept else header.line
    blank = sum(len(row.cells) > 1 or row.line < last for row in rows if not _has_content(row.cells))
    notes += [f"{counted(unnamed, 'column')} without a name left out"] if unnamed else []
    notes += [f"{counted(blank - bool(first), 'blank row')} left out"] if blank > bool(first) else []
    if is_quoted:
        doubts = (count_stray_quotes(kept, positions, label, place), check_spans(kept, label, mark, place))
        notes += [note for note in doubts if note]
    else:
        notes += _kept_quotes(kept, positions)
    cells = {name: [row.cells[at] for row in kept] for name, at in zip(columns, positions, strict=True)}
    return Table(place, cells, tuple(notes), [row.line for row in kept])


def _has_content(cells: Sequence[str]) -> bool:
    return any(cell.strip() for cell in cells)


def _checked(separator: str) -> str:
    mark = _NAMES.get(separator.lower(), separator)
    if len(mark) != 1 or mark in '"\r\n ':
        raise DataError(
            f"Wrong separator {shown(separator)}: expected one character such as ';' or tab. Correct"
            " --separator."
        )
    return mark


def _found(text: str, columns: Sequence[str], usual: str) -> str:
    """Return the separator by which the header has the columns, or else the one that splits it the most."""
    headers = {mark: _header(text, mark) for mark in (usual, *_SEPARATORS)}
    for mark, header in headers.items():
        if set(columns) <= set(header):
            return mark
    return max(headers, key=lambda mark: len(headers[mark]))


def _header(text: str, mark: str) -> list[str]:
    with _long_fields():
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
        return next(filter(_has_content, rows), [])


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lift the limit on the length of a field, a setting of the whole process, and put it back."""
    limit = csv.field_size_limit(_LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _quoted_rows(lines: Sequence[str], place: str, mark: str) -> list[Row]:
    rows, start = [], 0
    with _long_fields():
        reader = csv.reader(lines, delimiter=mark, strict=True)
        try:
            for cells in reader:
                rows.append(Row(start + 1, cells, "".join(lines[start : reader.line_num])))
                start = reader.line_num
        except csv.Error as error:
            problem = "a quote inside of a cell in quotes"
            remedy = 'Write a quote inside of a text twice (""), not after a backslash.'
            if "unexpected end" in str(error):
                problem, remedy = "a quote that is never closed", "Close it, or write it twice."
            raise DataError(
                f"Cannot read {place} line {start + 1}: expected quotes in pairs, got {problem} ({error})."
                f" {remedy}"
            ) from None
    return rows


def _tab_rows(
    text: str, lines: Sequence[str], place: str, mark: str, columns: Sequence[str]
) -> tuple[list[Row], bool]:
    """Return the rows of a ``.tsv``, and whether quotes were read as quotes.

    GLUE's files have none, those of pandas and of Excel do: the reading is taken that gives a table, and of
    two the one with quotes where a program can have written just these.
    """
    plain_lines = re.split("\r?\n" if "\n" in text else "\r", text)
    plain = [Row(number, line.split(mark), line) for number, line in enumerate(plain_lines, start=1)]
    if not re.search(f'(^|[\r\n{re.escape(mark)}])"', text):
        return plain, False
    try:
        quoted = _quoted_rows(lines, place, mark)
    except DataError:
        return plain, False
    # Lines of a text in quotes may look like rows: a table is not enough to take the reading without.
    if is_written_with_quotes(quoted, mark):
        return quoted, True
    if _is_table(quoted, columns) and not _is_table(plain, columns):
        return quoted, True
    return plain, False


def _is_table(rows: Sequence[Row], columns: Sequence[str]) -> bool:
    kept = [row.cells for row in rows if _has_content(row.cells)]
    return bool(kept) and set(columns) <= set(kept[0]) and {len(cells) for cells in kept} == {len(kept[0])}


def _count_cells(rows: Sequence[Row], width: int, place: str, mark: str, is_quoted: bool) -> None:
    wrong = [row for row in rows if len(row.cells) != width]
    if not wrong:
        return
    got, where = len(wrong[0].cells), f"line {wrong[0].line} (example {rows.index(wrong[0]) + 1})"
    more = f" (and in {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    if not is_quoted:
        remedy = "Quotes do not protect tabs in a .tsv; save it as .csv."
    elif got > width:
        remedy = f"Put texts that hold {mark!r} in quotes, or name the columns that the header lacks."
    else:
        remedy = "Fill in the cells that are missing."
    raise DataError(
        f"Wrong number of columns in {place} {where}: expected {width}, got {got}{more}. {remedy}"
    )


def _kept_quotes(rows: Sequence[Row], positions: Sequence[int]) -> list[str]:
    cells = [row.cells[at] for row in rows for at in positions]
    count = sum(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)
    if not count:
        return []
    return [f"quotes around {counted(count, 'cell')} are part of the text: a .tsv has no quoting"]
