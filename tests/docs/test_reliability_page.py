"""The page of what runs survive is made of its result."""

from __future__ import annotations

from pathlib import Path

from agwm.files import read_json
from benchmarks.hostile.cases import KINDS
from benchmarks.survival import NAME, render

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date_and_nothing_is_silently_wrong():
    result = read_json(DOCS / f"{NAME}.json")
    assert (DOCS / f"{NAME}.md").read_text(encoding="utf-8") == render(result)
    rows = {row["kind"]: row for row in result["rows"]}
    assert len(rows) == 6 + len(KINDS) and set(KINDS) < set(rows)
    for kind, row in rows.items():
        good = row["refused"] + row["accepted"] if kind in KINDS else row["survived"]
        assert row["wrong"] == 0 and good == row["tried"] > 0, kind
