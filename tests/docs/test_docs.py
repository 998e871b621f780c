"""The pages are true: their programs run, their links lead somewhere, and every public name is there.

A Python block of a page is preceded by a comment that says what is done with it: ``<!-- test: run -->``
(the blocks of a page run in order, in one namespace) or ``<!-- test: compile -->`` (it needs files).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import agwm

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "README.md"]
LINKING = sorted({*PAGES, *(ROOT / "docs").rglob("*.md")})
BLOCK = re.compile(r"(?:^<!-- test: (\w+) -->\n)?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_pages_with_programs_are_found():
    assert {"README.md", "docs/quickstart.md", "docs/betty_notes.md"} <= set(map(page_id, WITH_CODE))


@pytest.mark.parametrize("page", WITH_CODE, ids=page_id)
def test_programs_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # Betty moves to CUDA where there is one
    text = page.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```python")
    namespace = {"__name__": "page"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for number, (marker, source) in enumerate(blocks, 1):
            assert marker in ("run", "compile"), f"block {number} of {page.name} has no marker"
            program = compile(source, f"{page.name}, block {number}", "exec")
            if marker == "run":
                exec(program, namespace)


def test_pages_of_methods_and_results_are_checked_for_links():
    folders = {str(page.parent.relative_to(ROOT)) for page in LINKING}
    assert {".", "docs", "docs/methods", "docs/results/demo", "examples"} <= folders


@pytest.mark.parametrize("page", LINKING, ids=page_id)
def test_relative_links_lead_to_files(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    missing = [link for link in local if not (page.parent / link).exists()]
    assert missing == []


def test_every_public_name_is_on_the_api_page():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)", text, re.MULTILINE))
    assert rows == set(agwm.__all__)


def test_every_page_is_in_the_index():
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages == {link for link in re.findall(r"\]\((\w+\.md)\)", text)}


def test_results_have_their_place():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("<!-- results:begin -->") == text.count("<!-- results:end -->") == 1
    assert text.index("<!-- results:begin -->") < text.index("<!-- results:end -->")
