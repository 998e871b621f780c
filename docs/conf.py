"""Sphinx settings: ``pip install -e '.[docs]'``, then ``sphinx-build docs output/docs``."""

from __future__ import annotations

from typing import Any

from agwm import __version__

project = "agwm"
author = "agwm developers"
release = version = __version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["results/**/table.md"]
html_theme = "alabaster"
myst_heading_anchors = 3
# Links to files of the repository that are no pages.
suppress_warnings = ["myst.xref_missing"]


def _add_contents(app: Any, name: str, source: list[str]) -> None:
    """Give the index a table of contents, which the page itself has as a plain table."""
    if name == root_doc:
        pages = sorted(app.env.found_docs - {root_doc})
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", "", *pages, "```", ""])


def setup(app: Any) -> None:
    """Register the hook."""
    app.connect("source-read", _add_contents)
