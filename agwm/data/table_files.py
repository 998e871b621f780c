"""Read data files as tables: each by the ending of its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agwm.data.decoding import decode
from agwm.data.delimited import read_delimited
from agwm.data.file_bytes import file_place, kind_of, read_bytes, unpack
from agwm.data.json_rows import read_json_rows
from agwm.data.tables import Table
from agwm.data.typed_files import read_excel, read_parquet
from agwm.errors import DataError

__all__ = ["read_tables"]

_TEXTUAL = ("csv", "tsv", "json")


def read_tables(
    paths: Sequence[Path],
    columns: Sequence[str],
    encoding: str | None = None,
    separator: str | None = None,
    sheet: str | None = None,
    every: bool = False,
) -> list[Table]:
    """Read the named columns of files, or all.

    Args:
        paths: The files.
        columns: Columns to keep; the last is the label.
        encoding: Encoding of text files; None: UTF-8, or by the byte order mark.
        separator: Mark between the cells of CSV and TSV files; None: found by the header.
        sheet: Sheet of Excel files; None: the first.
        every: Keep all columns, of which none is a label. ``columns`` then names those that are expected,
            and a file may lack them.

    Returns:
        A table with one row or more for each file.

    Raises:
        DataError: If a file is missing or wrong, or has no row, or an option fits none of them.
        MissingExtraError: If a file is of Excel, and openpyxl is not installed.
    """
    kinds = [kind_of(path) for path in paths]
    _check_reading(kinds, encoding, separator, sheet)
    return [
        _read(path, kind, columns, encoding, separator, sheet, every)
        for path, kind in zip(paths, kinds, strict=True)
    ]


def _read(
    path: Path,
    kind: str,
    columns: Sequence[str],
    encoding: str | None,
    separator: str | None,
    sheet: str | None,
    every: bool,
) -> Table:
    place = file_place(path)
    data = unpack(path, read_bytes(path), kind)
    notes: list[str] = []
    if kind == "parquet":
        table = read_parquet(data, place, columns, every)
    elif kind == "excel":
        table = read_excel(data, place, columns, sheet, every)
    else:
        text, notes = decode(data, place, encoding)
        if kind == "json":
            table = read_json_rows(text, place, columns, every)
        else:
            table = read_delimited(text, place, columns, kind == "tsv", separator, every)
    if not any(table.columns.values()):
        raise DataError(f"{place} has no examples: expected one per row. Check the file.")
    return table.with_notes(notes)


def _check_reading(
    kinds: Sequence[str], encoding: str | None, separator: str | None, sheet: str | None
) -> None:
    """Raise if an option is for another kind of file than all are.

    Raises:
        DataError: If there is such an option.
    """
    for option, value, fitting in (
        ("encoding", encoding, _TEXTUAL),
        ("separator", separator, ("csv", "tsv")),
        ("sheet", sheet, ("excel",)),
    ):
        if value is not None and not set(fitting) & set(kinds):
            raise DataError(
                f"Option {option} is for {', '.join(fitting)} files: expected one, got"
                f" {' and '.join(dict.fromkeys(kinds))}. Leave --{option} out."
            )
