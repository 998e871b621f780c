"""Sections as Markdown, which also reads as plain text; pictures are in the HTML page alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agwm.markdown import escape, table
from agwm.model_selection.reporting.blocks import Block, Cell, Folded, Items, Picture, Section, Table, Text

__all__ = ["markdown_page"]


def markdown_page(title: str, sections: Sequence[Section], html: str) -> str:
    """Return a page.

    Args:
        title: Title of the page.
        sections: The sections.
        html: Name of the HTML page beside it, which has the pictures.
    """
    parts = [f"# {escape(title)}\n", f"With pictures: [{html}]({html}).\n"]
    for section in sections:
        parts.append(f"## {escape(section.title)}\n")
        parts += _written(section.blocks)
    return "\n".join(parts)


def _written(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Text):
            yield f"{escape(block.text)}\n"
        elif isinstance(block, Items):
            yield "".join(f"- {escape(item)}\n" for item in block.items)
        elif isinstance(block, Table):
            yield f"{escape(block.title)}:\n"
            lines = [
                [escape(one.text if isinstance(one, Cell) else one) for one in line] for line in block.lines
            ]
            yield table([escape(name) for name in block.head], lines, block.right, is_padded=False)
        elif isinstance(block, Folded):
            yield from _written(block.blocks)
        elif isinstance(block, Picture):
            yield f"Picture in the HTML page: {escape(block.title)}\n"
