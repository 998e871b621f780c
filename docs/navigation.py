"""The site's list of contents, read from the tables of a page: the page and the list cannot differ."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
INDEX = "docs/index"


def entries(page: str) -> dict[str, dict[str, str]]:
    """Return heading -> name of a page -> text of the first link to it, in the order of a page's tables.

    Args:
        page: Name of the page: its path from the root of the repository, without ``.md``.
    """
    found: dict[str, dict[str, str]] = {}
    tokens = iter(MarkdownIt().enable("table").parse((ROOT / f"{page}.md").read_text(encoding="utf-8")))
    heading, is_in_table = "", False
    for token in tokens:
        if token.type == "heading_open":
            heading = next(tokens).content
        is_in_table = token.type == "table_open" or (is_in_table and token.type != "table_close")
        if is_in_table and token.children:
            children = iter(token.children)
            for child in children:
                target = str(child.attrs.get("href", ""))
                if child.type == "link_open" and target.endswith(".md"):
                    name = posixpath.normpath(posixpath.join(posixpath.dirname(page), target[:-3]))
                    found.setdefault(heading, {}).setdefault(name, next(children).content)
    return found


def contents(page: str) -> Iterator[str]:
    """Yield a hidden list of contents in MyST for each heading of a page that has links in a table."""
    for heading, pages in entries(page).items():
        lines = [f"{text} </{name}>" for name, text in pages.items()]
        caption = [f":caption: {heading}"] if page == INDEX else []
        yield "\n".join(["```{toctree}", ":hidden:", *caption, "", *lines, "```", ""])
