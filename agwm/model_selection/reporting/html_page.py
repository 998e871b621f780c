"""Sections as one HTML file, with its style sheet and pictures inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from agwm.model_selection.reporting.blocks import Block, Cell, Folded, Picture, Section

__all__ = ["html_page", "missing_pictures"]

_TEMPLATE, _STYLES = "report.html", "report.css"


def html_page(title: str, sections: Sequence[Section]) -> str:
    """Return a page; every text in it is escaped.

    Args:
        title: Title of the page.
        sections: The sections; the first one is shown as a box.
    """
    environment = _environment()
    styles, _, _ = environment.loader.get_source(environment, _STYLES)  # type: ignore[union-attr]
    return environment.get_template(_TEMPLATE).render(
        title=title, sections=sections, styles=Markup(styles), missing=missing_pictures(sections)
    )


def missing_pictures(sections: Sequence[Section]) -> list[str]:
    """Return the titles of the pictures that could not be drawn."""
    return [one.title for section in sections for one in _pictures(section.blocks) if one.svg is None]


def _pictures(blocks: Sequence[Block]) -> Iterator[Picture]:
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        elif isinstance(block, Folded):
            yield from _pictures(block.blocks)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("agwm.model_selection.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # an element that this package drew and escaped itself
    environment.filters["element"] = Markup
    environment.tests["shaded"] = lambda value: isinstance(value, Cell)
    return environment
