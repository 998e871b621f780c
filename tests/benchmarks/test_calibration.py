"""The table of draws: what is inside of an interval, and how far the choice is from the best."""

from __future__ import annotations

from benchmarks.calibration import lines


def draw(number: int, chosen: str, low: float, validation: dict[str, float]) -> dict:
    return {
        "draw": number,
        "chosen": chosen,
        "rows": {name: [low + 0.05, low, low + 0.1, "tied", 1] for name in validation},
        "new": {name: {"validation": value, "others": value + 0.02} for name, value in validation.items()},
        "seconds": {"folds": 90, "trials": 30},
    }


def test_coverage_and_regret_are_counted_over_the_draws():
    first = draw(1, "probe", 0.70, {"probe": 0.75, "vanilla": 0.78})
    second = draw(2, "vanilla", 0.80, {"probe": 0.77, "vanilla": 0.79})
    text = lines([first, second])
    assert "| 1    | probe   | 75.0 [70.0, 80.0] | 75.0 (vanilla 78.0) |" in text
    assert "validation: inside of the interval in 1 of 2 draws" in text
    assert "others: inside of the interval in 2 of 2 draws" in text
    assert text.count("1.5 points below the best in hindsight") == 2  # (3 + 0) / 2
    assert "minutes" not in text
