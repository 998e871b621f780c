"""Markdown: tables that also read well as plain text, names as they are, and text between two marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agwm.errors import DataError

__all__ = ["code", "escape", "flat", "put_between", "table"]

# What Markdown, as GitHub has it, takes for markup inside of a line; underscores inside of words are none.
_MARKUP = re.compile(
    r"[\\`*~$]"
    r"|<(?=[A-Za-z/!?])"
    r"|\](?=[(\[])"
    r"|&(?=#?\w+;)"
    r"|(?<![^\W_])_+|_+(?![^\W_])"
)


def flat(text: str) -> str:
    """Return a text on one line, without control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))


def escape(text: str) -> str:
    r"""Return Markdown that shows a text literally, on one line.

    A ``|`` is left to :func:`table`. It has a meaning in tables alone.

    Example:
        >>> escape("agwm_k5"), escape("_a_ *b* [c](d) <e>")
        ('agwm_k5', '\\_a\\_ \\*b\\* [c\\](d) \\<e>')
    """
    return _MARKUP.sub(lambda found: "".join("\\" + c for c in found[0]), flat(text))


def code(text: str) -> str:
    """Return a code span that shows a text literally, on one line.

    Example:
        >>> code("key"), code("a`b")
        ('`key`', '``a`b``')
    """
    text = flat(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{space}{text}{space}{fence}"


def table(
    head: Sequence[str],
    lines: Iterable[Sequence[str]],
    right: Iterable[int] = (),
    is_padded: bool = True,
) -> str:
    """Write a table, ending in a newline.

    Args:
        head: Names of the columns.
        lines: Cells, line by line, in Markdown; a ``|`` in one is escaped. See :func:`escape`.
        right: Numbers of the columns that are aligned on the right.
        is_padded: Fill cells up to the width of their column. Leave it out where cells are very long.

    Example:
        >>> print(table(["name", "n"], [["a", "12"]], right=[1]), end="")
        | name |   n |
        | ---- | --: |
        | a    |  12 |
    """
    cells = [[flat(cell).replace("|", "\\|") for cell in line] for line in (head, *lines)]
    widths = [
        max(3, *(len(line[column]) if is_padded else 0 for line in cells)) for column in range(len(head))
    ]
    to_right = [column in set(right) for column in range(len(head))]
    rule = [
        "-" * (width - 1) + ":" if r else "-" * width for width, r in zip(widths, to_right, strict=True)
    ]

    def filled(cell: str, width: int, r: bool) -> str:
        if not is_padded:
            return cell
        return cell.rjust(width) if r else cell.ljust(width)

    return "".join(
        f"| {' | '.join(map(filled, line, widths, to_right))} |\n" for line in (cells[0], rule, *cells[1:])
    )


def put_between(page: str, name: str, content: str, source: str = "the page") -> str:
    r"""Return a page with other content between ``<!-- name:begin -->`` and ``<!-- name:end -->``.

    Args:
        page: Text of the page.
        name: Name of the two marks.
        content: The text to stand between them, on lines of its own.
        source: Name of the page, for the message.

    Raises:
        DataError: If a mark is missing.

    Example:
        >>> put_between("<!-- n:begin -->old<!-- n:end -->!", "n", "new")
        '<!-- n:begin -->\nnew\n<!-- n:end -->!'
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise DataError(
            f"Nowhere to write: expected {begin} and {end} in {source}, got none. Name another page."
        )
    return f"{head}{begin}\n{content.strip(chr(10))}\n{end}{tail}"
