"""The page on the architecture names every folder and what it imports."""

from __future__ import annotations

from docs.make_layout import PAGE, arrows, section
from tests.test_architecture import FOLDERS, PACKAGE


def rows(text):
    lines = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip(): cells[3].strip() for cells in lines}


def test_the_table_is_of_this_code():
    # the lines of a folder change with every commit; its name and what it imports are the architecture
    found = rows(PAGE.read_text(encoding="utf-8"))
    assert found == rows(section()), "run: python -m docs.make_layout"
    assert set(found) == {f"`{folder or 'ground'}`" for folder in FOLDERS}


def test_arrows_point_down():
    found = arrows(PACKAGE)
    assert ("search.micro_passes", "hypergradient.search_step") in found
    assert not {("mixing", "hypergradient"), ("hypergradient", "mixing")} & {
        (one.split(".")[0], other.split(".")[0]) for one, other in found
    }
