"""Read tab-separated files in GLUE's format, without quoting. No row is lost."""

from __future__ import annotations

from pathlib import Path

from agwm.errors import DataError, close_names

__all__ = ["column_index", "read_tsv"]


def read_tsv(path: Path) -> list[tuple[int, list[str]]]:
    r"""Read the rows of a UTF-8 file and split them on tabs.

    Quotes are plain characters. Only ``\n`` and ``\r\n`` end a row. Other separators occur inside
    real sentences (U+2028, U+0085, a lone ``\r``) and stay there. The reader ignores a byte order
    mark and blank lines at the end.

    Args:
        path: The file.

    Returns:
        Pairs of the 1-based line number in the file and its cells.

    Raises:
        DataError: If the file is missing, not UTF-8 or empty.
    """
    if not path.is_file():
        raise DataError(f"Data file missing: expected a file at {path}. Check --data-dir.")
    try:
        # Not "utf-8-sig": with a byte order mark it would report positions 3 too low.
        text = path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: the byte at offset {error.start} cannot be decoded. Save it as UTF-8."
        ) from None
    lines = text.split("\n")
    lines = [line[:-1] if line.endswith("\r") else line for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{path} is empty: expected one example per row.")
    return [(number, line.split("\t")) for number, line in enumerate(lines, start=1)]


def column_index(header: list[str], name: str, path: Path) -> int:
    """Return the position of a column by its header name.

    Args:
        header: Cells of the header row.
        name: Name of the column.
        path: The file, for the message.

    Returns:
        Its 0-based position.

    Raises:
        DataError: If the header lacks the column or repeats it.
    """
    count = header.count(name)
    if count == 1:
        return header.index(name)
    wrong = "lacks" if count == 0 else "repeats"
    raise DataError(
        f"The header of {path} (row 1) {wrong} column {name!r}: expected it once, got "
        f"{', '.join(repr(cell) for cell in header[:12])}.{close_names(name, header)}"
    )
