"""Read files whose cells have types: Parquet by pyarrow, Excel sheets by openpyxl."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import datasets
import pyarrow as pa
from pyarrow import parquet

from agwm.data.class_labels import named_cells
from agwm.data.tables import Table, column_index, counted, every_column
from agwm.errors import DataError, MissingExtraError, border, shown

__all__ = ["read_excel", "read_parquet"]

_ERRORS = {"#N/A", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"}


def read_parquet(data: bytes, place: str, columns: Sequence[str], every: bool = False) -> Table:
    """Read the columns of a Parquet file.

    Args:
        data: The bytes of the file.
        place: The file, for messages.
        columns: Columns to keep; the last is the label. A ``ClassLabel`` of ``datasets`` becomes its names.
        every: Keep all columns, of which none is a label.

    Returns:
        The columns, with values as Parquet types them.

    Raises:
        DataError: If the file is damaged, or lacks a column.
    """
    with border(place, "a Parquet file", "Write it again."):
        file = parquet.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        names = file.schema_arrow.names
        notes: list[str] = []
        if every:
            columns, positions, notes = every_column(names)
        else:
            positions = [column_index(names, name, place) for name in columns]
        # Not by name: "a.b" would be field b of a.
        table = file.read().select(positions)
        cells = {name: part.to_pylist() for name, part in zip(columns, table.columns, strict=True)}
        classes = None
        if not every:
            feature = _feature(file.schema_arrow, columns[-1])
            cells[columns[-1]], classes = named_cells(cells[columns[-1]], feature, place)
    return Table(place, cells, tuple(notes), class_names=classes)


def _feature(schema: pa.Schema, column: str) -> Any:
    if b"huggingface" not in (schema.metadata or {}):
        return None
    return datasets.Features.from_arrow_schema(schema).get(column)


def read_excel(
    data: bytes, place: str, columns: Sequence[str], sheet: str | None = None, every: bool = False
) -> Table:
    """Read the columns of a sheet.

    Args:
        data: The bytes of an ``.xlsx`` file.
        place: The file, for messages.
        columns: Columns to keep; the last is the label.
        sheet: Name of the sheet; None: the first.
        every: Keep all columns, of which none is a label.

    Returns:
        The columns, with values as the sheet types them.

    Raises:
        MissingExtraError: If openpyxl is not installed.
        DataError: If the file is damaged, or lacks a sheet or column.
    """
    try:
        import openpyxl
    except ImportError:
        raise MissingExtraError(
            f"Cannot read {place}: expected openpyxl for Excel files, got no such package. Run pip install"
            " 'agwm[excel]', or save the sheet as .csv."
        ) from None
    with border(place, "an .xlsx file", "Save it again, without a password."), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl tells of styles and filters that it leaves out
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        names = [one.title for one in book.worksheets]
        if sheet is not None and sheet not in names:
            raise DataError(
                f"{place} has no sheet {shown(sheet, 80)}: expected one of {shown(names)}. Correct --sheet."
            )
        page = book[names[0] if sheet is None else sheet]
        page.reset_dimensions()  # what the file says of its size may be wrong
        rows = list(enumerate(page.iter_rows(values_only=True), start=1))
    return _sheet_table(rows, place, columns, _sheet_notes(names, page.title), every)


def _sheet_notes(names: Sequence[str], title: str) -> list[str]:
    others = [shown(name, 40) for name in names if name != title]
    return [f"sheet {shown(title, 40)} read, not {', '.join(others[:5])}"] if others else []


def _sheet_table(
    rows: Sequence[tuple[int, Sequence[Any]]],
    place: str,
    columns: Sequence[str],
    notes: list[str],
    every: bool,
) -> Table:
    kept = [(row, cells) for row, cells in rows if any(cell is not None for cell in cells)]
    if not kept:
        raise DataError(f"{place} has no header: expected names of columns, got an empty sheet. Add them.")
    first, header = kept.pop(0)
    names = ["" if cell is None else str(cell) for cell in header]
    if every:
        columns, positions, more = every_column(names)
        notes += more
    else:
        positions = [column_index(names, name, f"The header of {place} (row {first})") for name in columns]
    blank = len([row for row, _ in rows if not kept or row < kept[-1][0]]) - len(kept)
    notes += [f"{counted(blank, 'blank row')} left out"] if blank > 0 else []
    found: dict[str, list] = {name: [] for name in columns}
    for row, cells in kept:
        for name, at in zip(columns, positions, strict=True):
            cell = cells[at] if at < len(cells) else None
            if isinstance(cell, str) and cell in _ERRORS:
                raise DataError(
                    f"{place} row {row} has an error in column {shown(name, 80)}: expected a value, got"
                    f" {cell}. Correct the sheet."
                )
            found[name].append(cell)
    return Table(place, found, tuple(notes), [row for row, _ in kept], "row")
