"""Read tab-separated files in GLUE's format, without quoting. No row is lost."""

from __future__ import annotations

from pathlib import Path

from agwm.data.decoding import decode
from agwm.data.file_bytes import file_place, read_bytes
from agwm.errors import DataError

__all__ = ["read_tsv"]


def read_tsv(path: Path) -> list[tuple[int, list[str]]]:
    r"""Read the rows of a file in UTF-8 and split them on tabs.

    Quotes are plain characters. Only ``\n`` and ``\r\n`` end a row. Other separators occur inside
    real sentences (U+2028, U+0085, a lone ``\r``) and stay there. The reader ignores a byte order
    mark and blank lines at the end.

    Args:
        path: The file.

    Returns:
        Pairs of the 1-based line number in the file and its cells.

    Raises:
        DataError: If the file is missing, empty, or no text.
    """
    text, _ = decode(read_bytes(path, "Check --data-dir."), file_place(path))
    lines = text.split("\n")
    lines = [line[:-1] if line.endswith("\r") else line for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{file_place(path)} is empty: expected one example per row.")
    return [(number, line.split("\t")) for number, line in enumerate(lines, start=1)]
