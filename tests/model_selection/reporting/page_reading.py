"""Reading a page: its tables by caption, and the problems of its HTML, by a strict parser."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from agwm.model_selection.reporting.blocks import Cell, Folded, Picture, Table

_VOID = {"meta", "link", "br", "img", "hr"}


def blocks_of(sections, kind, anchor=None):
    """Return all blocks of a class, also folded ones."""

    def walk(blocks):
        for block in blocks:
            yield block
            if isinstance(block, Folded):
                yield from walk(block.blocks)

    chosen = [section for section in sections if anchor in (None, section.anchor)]
    return [block for section in chosen for block in walk(section.blocks) if isinstance(block, kind)]


def table_of(sections, anchor, title):
    """Return the lines of the one table whose caption has a text, as dictionaries by column."""
    (table,) = [one for one in blocks_of(sections, Table, anchor) if title in one.title]
    plain = [[cell.text if isinstance(cell, Cell) else cell for cell in line] for line in table.lines]
    return [dict(zip(table.head, line, strict=True)) for line in plain]


def pictures_of(sections, anchor=None):
    return blocks_of(sections, Picture, anchor)


class Page(HTMLParser):
    """A page that was parsed: elements, ids, links, texts, and tags that do not pair."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.problems, self.texts, self._open = [], [], [], []
        self.feed(text)
        self.close()
        self.problems += [f"<{tag}> is never closed" for tag in self._open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> closes another element")

    def handle_data(self, data):
        if not self._open or self._open[-1] != "style":
            self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.texts))
