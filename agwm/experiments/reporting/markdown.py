"""Markdown tables that also read well as plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["table"]


def table(head: Sequence[str], lines: Sequence[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Write a table, ending in a newline.

    Args:
        head: Names of the columns.
        lines: Cells, line by line; a ``|`` in one is escaped.
        right: Numbers of the columns that are aligned on the right.
    """
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (head, *lines)]
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(head))]
    to_right = [column in set(right) for column in range(len(head))]
    rule = [
        "-" * (width - 1) + ":" if r else "-" * width for width, r in zip(widths, to_right, strict=True)
    ]
    return "".join(
        "| "
        + " | ".join(
            cell.rjust(width) if r else cell.ljust(width)
            for cell, width, r in zip(line, widths, to_right, strict=True)
        )
        + " |\n"
        for line in (cells[0], rule, *cells[1:])
    )
