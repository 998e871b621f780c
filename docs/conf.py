"""Settings of the documentation site, which ``make docs`` builds from the root of the repository.

The pages are Markdown where a code host shows them: links between them and to files of the repository
are the same there and here. A file that is no page, as a config or an example, is a download of the site.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from docutils import nodes

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agwm import __version__  # noqa: E402
from docs import notebooks  # noqa: E402
from docs.navigation import INDEX, contents  # noqa: E402

project = "agwm"
author = "agwm developers"
release = version = __version__
extensions = [
    "myst_nb",  # the parser of Markdown, which executes the tutorials
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
]

root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**.md", "examples/**.md"]
# Parts of reports, which other pages show or offer as files.
exclude_patterns = ["docs/results/*/README.md", "docs/results/*/t*.md", "build", "output", "runs", ".*"]

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

notebooks.prepare()
nb_execution_mode = "cache"
nb_execution_cache_path = str(notebooks.cache_folder())
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300  # seconds a cell
nb_merge_streams = True
nb_render_markdown_format = "myst"  # with tables

autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
napoleon_custom_sections = ["Reference", ("Class attributes", "Attributes")]
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
default_role = "code"

html_theme = "furo"
html_title = f"agwm {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = html_show_copyright = False
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True


def _complete(app: Any, page: str, source: list[str]) -> None:
    """Give the landing page and two folders their contents, a tutorial its time, a report its tables."""
    if page == root_doc:
        start = f"```{{toctree}}\n:hidden:\n\nAll pages </{INDEX}>\n```\n"
        source[0] = "\n\n".join([source[0], start, *contents(INDEX)])
    elif page in ("docs/methods/index", "docs/tutorials/index"):
        source[0] = "\n\n".join([source[0], *contents(page)])
    elif page.startswith("docs/tutorials/"):
        source[0] = notebooks.with_time_and_download(page, source[0])
    elif page.endswith("/report"):
        source[0] = source[0].replace("](tables.md)", "](path:tables.md)")  # a file, no page


def _drop_comments(app: Any, tree: nodes.document) -> None:
    """Leave out what pages say to tests and to scripts that write into them."""
    for node in list(tree.findall(nodes.raw)):
        if node.astext().lstrip().startswith("<!--"):
            node.parent.remove(node)


def _tell_time(app: Any, tree: nodes.document) -> None:
    """Write how long a notebook took, which is known once the page is read."""
    ran = app.env.nb_metadata.get(app.env.docname, {}).get("exec_data")
    for node in [node for node in tree.findall(nodes.Text) if notebooks.SECONDS in node]:
        node.parent.replace(node, nodes.Text(node.replace(notebooks.SECONDS, f"{ran['runtime']:.0f}")))


def _name_defaults(app: Any, kind: str, name: str, thing: Any, options: Any, call: Any, back: Any) -> Any:
    """Write a default that a factory makes as Python can read it, else Sphinx shows the whole line raw."""
    return (call or "").replace("<factory>", "...") or call, back


def _drop_ways_back(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Leave out links from sources to names: viewcode takes one module for all names of a file."""
    if page.startswith("_modules/") and "body" in context:
        context["body"] = re.sub(r'<a class="viewcode-back".*?</a>', "", context["body"])


def _write_front_door(app: Any, error: Exception | None) -> None:
    """Put the landing page where a browser looks for it."""
    if error is None and app.builder.format == "html":
        shutil.copyfile(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Any) -> None:
    """Register the hooks."""
    app.connect("source-read", _complete)
    app.connect("doctree-read", _drop_comments)
    app.connect("doctree-read", _tell_time)
    app.connect("autodoc-process-signature", _name_defaults)
    app.connect("html-page-context", _drop_ways_back)
    app.connect("build-finished", _write_front_door)
