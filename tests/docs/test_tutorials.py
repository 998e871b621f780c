"""The tutorials: their cells are programs, and each ends in a picture, in little time.

The execution needs the extra ``docs``: ``.venv/bin/python -m pytest tests/docs/test_tutorials.py -m ''``.
"""

from __future__ import annotations

import re

import pytest

from docs.make_tutorials import PAGE, row
from docs.notebooks import CELL, ROOT, SECONDS, TUTORIALS, cache_folder, execute, with_time_and_download

LIMIT = 120  # seconds

tutorials = pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)


def test_every_tutorial_has_its_place_and_its_row():
    assert {*TUTORIALS, PAGE} == {*(ROOT / "docs" / "tutorials").glob("*.md")}
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| [")]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cells[:2] for cells in found] == [row(page, 0)[:2] for page in TUTORIALS]
    assert all(int(cells[2].removesuffix(" s")) < LIMIT for cells in found)


@tutorials
def test_cells_are_programs_and_the_last_one_draws(page):
    text = page.read_text(encoding="utf-8")
    cells = CELL.findall(text)
    assert len(cells) == text.count("{code-cell}") > 2
    for number, cell in enumerate(cells, 1):
        compile(cell, f"{page.name}, cell {number}", "exec")
    assert "plt.subplots(" in cells[-1]
    assert re.search(r"^# .+\n\nGoal: ", text, re.MULTILINE)


def test_a_page_of_the_site_tells_time_and_offers_the_notebook():
    text = with_time_and_download("docs/tutorials/images", "# Images\n\nGoal: see.\n\n# Other\n")
    assert text.splitlines()[2].count(SECONDS) == 1 and "{nb-download}`images.ipynb`" in text
    assert text.endswith("\n\nGoal: see.\n\n# Other\n") and text.count("nb-download") == 1


def test_outputs_of_other_code_are_not_kept(tmp_path):
    (tmp_path / "older").mkdir()
    own = cache_folder(tmp_path)
    own.mkdir()
    assert cache_folder(tmp_path) == own and [*tmp_path.iterdir()] == [own]


@pytest.mark.slow
@tutorials
def test_it_runs_ends_in_a_picture_and_takes_little_time(page, tmp_path):
    for name in ("myst_nb", "nbclient", "ipykernel"):
        pytest.importorskip(name, reason="the extra 'docs' is not installed: make docs")
    notebook, seconds = execute(page, tmp_path)
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert "image/png" in last.outputs[-1]["data"]
    assert seconds < LIMIT
