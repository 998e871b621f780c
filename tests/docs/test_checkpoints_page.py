"""What checkpoints cost is what was measured, and below the target."""

from __future__ import annotations

from pathlib import Path

from agwm.files import read_json
from benchmarks.checkpoint_cost import LIMIT, NAME, figures, render

BENCH = Path(__file__).parents[2] / "docs" / "bench"


def test_the_page_is_made_of_its_result_and_the_target_is_met():
    result = read_json(BENCH / f"{NAME}.json")
    assert (BENCH / f"{NAME}.md").read_text(encoding="utf-8") == render(result)
    assert max(figures(result).values()) < LIMIT and result["repeats"] >= 3
