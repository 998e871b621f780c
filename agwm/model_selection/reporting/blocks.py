"""Blocks of a page: texts, lists, tables and pictures, whichever format it is written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

__all__ = ["Block", "Cell", "Folded", "Items", "Picture", "Section", "Table", "Text"]


@dataclass(frozen=True)
class Cell:
    """A cell with a shade.

    Attributes:
        text: The text.
        share: Darkness in [0, 1].
    """

    text: str
    share: float


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Items:
    """A list of lines."""

    kind: ClassVar[str] = "items"
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table. The first column names the lines.

    Attributes:
        title: Caption.
        head: Names of the columns.
        lines: Cells, line by line.
        right: Numbers of the columns that are aligned on the right.
        marked: Numbers of the lines that stand out.
    """

    kind: ClassVar[str] = "table"
    title: str
    head: Sequence[str]
    lines: Sequence[Sequence[str | Cell]]
    right: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        title: Caption.
        text: Description for those who do not see it.
        svg: An ``<svg>`` element; None: matplotlib is not installed.
        width: Widest that it is shown, in CSS pixels.
    """

    kind: ClassVar[str] = "picture"
    title: str
    text: str
    svg: str | None
    width: int = 560


@dataclass(frozen=True)
class Folded:
    """Blocks that a reader opens.

    Attributes:
        title: The line that opens them.
        blocks: What is folded.
    """

    kind: ClassVar[str] = "folded"
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes:
        anchor: Name of the place, for links.
        title: Heading.
        blocks: What stands below it.
    """

    anchor: str
    title: str
    blocks: Sequence[Block] = field(default_factory=list)


Block = Text | Items | Table | Picture | Folded
