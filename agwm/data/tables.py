"""A table as it was read from a file: the columns asked for, and what the reader has to say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agwm.errors import DataError, close_names, shown

__all__ = ["Table", "column_index", "counted", "every_column"]


@dataclass(frozen=True)
class Table:
    """Columns of a data file.

    Attributes:
        file: The file, as messages have it.
        columns: Cells by column: text from text files, typed values from others.
        notes: What the reader found, chose or left out; a short line each.
        lines: Line of the file where each example begins, if it has lines.
        unit: Name of a line: ``"line"``, or ``"row"`` of a sheet.
        class_names: Names that the file itself has for the classes.
    """

    file: str
    columns: dict[str, list]
    notes: tuple[str, ...] = ()
    lines: Sequence[int] | None = None
    unit: str = "line"
    class_names: tuple[str, ...] | None = None

    def at(self, index: int) -> str:
        """Return the place of an example, counted from 0, for a message."""
        example = f"example {index + 1}"
        if self.lines is None:
            return f"{self.file} {example}"
        return f"{self.file} {self.unit} {self.lines[index]} ({example})"

    def with_notes(self, notes: Sequence[str]) -> Table:
        """Return the table with notes before its own."""
        return replace(self, notes=(*notes, *self.notes))


def counted(count: int, noun: str) -> str:
    """Return ``"1 row"``, ``"2 rows"``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def column_index(header: Sequence[str], name: str, place: str) -> int:
    """Return the position of a column by its name.

    Args:
        header: Names of all columns.
        name: Name of the column.
        place: The file, and the row of its header, for the message.

    Returns:
        Its 0-based position.

    Raises:
        DataError: If the column is missing, or there are two of that name.
    """
    count = header.count(name)
    if count == 1:
        return header.index(name)
    wrong, remedy = "repeats", " Rename one in the file."
    if not count:
        wrong, remedy = "lacks", f"{close_names(name, header)} Correct the name of the column."
    got = ", ".join(shown(cell, 40) for cell in header[:12])
    got = f"{got[:197]}..." if len(got) > 200 else got
    raise DataError(
        f"{place} {wrong} column {shown(name, 80)}: expected it once, got {got or 'no columns'}.{remedy}"
    )


def every_column(header: Sequence[str]) -> tuple[list[str], list[int], list[str]]:
    """Return all columns that have a name.

    Args:
        header: Names of all columns.

    Returns:
        Their names, of which a repeated one gets a number; their positions; notes on repeated names.

    Example:
        >>> every_column(["text", "", "id", "text"])
        (['text', 'id', 'text (2)'], [0, 2, 3], ["column 'text' repeated: the later ones are 'text (2)'"])
    """
    names: dict[str, int] = {}
    notes: list[str] = []
    for position, name in enumerate(header):
        if not name.strip():
            continue
        new, number = name, 1
        while new in names:
            number += 1
            new = f"{name} ({number})"
        names[new] = position
        if new != name:
            notes.append(f"column {shown(name, 40)} repeated: the later ones are {shown(new, 40)}")
    return list(names), list(names.values()), notes
