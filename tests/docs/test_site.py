"""The site has every page and every public name, and in the built site no link is dead.

The build needs the extra ``docs``: ``make docs`` installs it, and then
``.venv/bin/python -m pytest tests/docs/test_site.py -m ''`` runs all of it.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import agwm
import agwm.data
import agwm.errors
import agwm.methods
import agwm.testing

ROOT = Path(__file__).resolve().parents[2]
DIRECTIVE = re.compile(r"^\.\. (?:auto\w+|py:data):: ([\w.]+)$", re.MULTILINE)
NEEDED = "the extra 'docs' is not installed: make docs"


def described():
    text = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    return DIRECTIVE.findall(text)


def test_every_public_name_has_its_place_on_one_page():
    names = [f"{module.__name__}.{name}" for module in (agwm, agwm.data, agwm.methods, agwm.testing)
             for name in module.__all__]  # fmt: skip
    errors = [
        f"agwm.errors.{name}"
        for name in agwm.errors.__all__
        if isinstance(getattr(agwm.errors, name), type) and name not in agwm.__all__
    ]
    found = described()
    assert len(found) == len(set(found))
    assert set(names) | set(errors) <= set(found)


def test_what_a_page_describes_is_there():
    for name in described():
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_every_page_is_in_the_contents():
    navigation = pytest.importorskip("docs.navigation", reason=NEEDED, exc_type=ImportError)
    folders = ("docs/methods/index", "docs/tutorials/index")
    listed = [
        page
        for name in (navigation.INDEX, *folders)
        for part in navigation.entries(name).values()
        for page in part
    ]
    parts = {*(ROOT / "docs" / "results").glob("*/README.md"), *(ROOT / "docs" / "results").glob("*/t*.md")}
    pages = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for place in ("CHANGELOG.md", "CONTRIBUTING.md", "docs/**/*.md", "examples/**/*.md")
        for path in ROOT.glob(place)
        if path not in parts
    }
    assert len(listed) == len(set(listed)) and set(listed) == pages - {navigation.INDEX}
    assert (
        navigation.entries(navigation.INDEX)["Scale and survive"]["docs/reliability"] == "What runs survive"
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built anew as ``make docs`` does: a warning is an error."""
    for name in ("sphinx", "furo", "myst_nb", "sphinx_copybutton", "sphinx-mathjax-offline"):
        pytest.importorskip(name, reason=NEEDED)
    out = tmp_path_factory.mktemp("site")
    recipe = re.search(r"^\t\$\(RUN\) (-m sphinx .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    places = {"build/doctrees": str(out / "trees"), "build/docs": str(out / "html")}
    command = [places.get(word, word) for word in recipe[1].split()]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT, capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out / "html"


@pytest.fixture(scope="module")
def pages(site):
    """The parsed pages, by path."""
    from bs4 import BeautifulSoup

    return {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(site.rglob("*.html"))
    }


@pytest.mark.slow
def test_no_link_of_the_site_is_dead_and_nothing_is_fetched(site, pages):
    ids = {
        path: {tag[key] for key in ("id", "name") for tag in soup.find_all(attrs={key: True})}
        for path, soup in pages.items()
    }
    assert len(pages) > 100 and site / "index.html" in pages
    dead, fetched, count = [], [], 0
    for path, soup in pages.items():
        for tag in soup.find_all(["a", "img", "script", "link"]):
            target = tag.get("href", tag.get("src"))
            if target is None:
                continue
            url = urlsplit(target)
            if url.scheme or url.netloc:
                if tag.name != "a":
                    fetched.append((path.name, target))
                continue
            count += 1
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not file.is_file():
                dead.append((path.name, target))
            elif url.fragment and file in ids and unquote(url.fragment) not in ids[file]:
                dead.append((path.name, target))
    assert (dead, fetched) == ([], []) and count > 1000


@pytest.mark.slow
def test_formulas_are_formulas_and_what_pages_tell_tests_is_left_out(site, pages):
    texts = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in pages}
    for name, text in texts.items():
        if not name.startswith("_modules/"):
            assert "<!-- test:" not in text and ":begin -->" not in text, name
    for name in ("docs/methods/r3f.html", "docs/api/mixing.html", "docs/api/hypergradient.html"):
        soup = pages[site / name]
        assert soup.find_all(class_="math") and "$$" not in soup.get_text(), name
        (script,) = [tag["src"] for tag in soup.find_all("script") if "mathjax" in tag.get("src", "")]
        assert ((site / name).parent / script.split("?")[0]).resolve().is_file()
    signature = pages[site / "docs/api/mixing.html"].find(id="agwm.mix_weights").get_text()
    assert "pretrained" in signature and "Literal['convex', 'factored'] = 'convex'" in signature
