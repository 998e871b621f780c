"""What the page on hypergradients says of the schemes is what was measured."""

from __future__ import annotations

from pathlib import Path

from agwm.files import read_json
from benchmarks.whole_hypergradient import DIRECT, render

BENCH = Path(__file__).parents[2] / "docs" / "bench"
RESULT = read_json(BENCH / "whole_hypergradient.json")


def figures(key, **setting):
    """Return scheme -> the figures of the whole hypergradient, in all settings that are asked for."""
    found = {}
    for entry in RESULT["settings"]:
        if all(entry["setting"][name] == value for name, value in setting.items()):
            for record in entry["records"]:
                found.setdefault(record["scheme"], []).extend(
                    step["whole"][key] for step in record["steps"]
                )
    return found


def test_the_measured_page_is_made_of_its_result():
    assert (BENCH / "whole_hypergradient.md").read_text(encoding="utf-8") == render(RESULT)


def test_the_schemes_are_as_the_page_says():
    paper = figures("error", best_response="sgd")
    assert len(paper) == 4 and max(max(errors) for errors in paper.values()) < 0.01
    one = {"best_response": "optimizer", "unroll_steps": 1}
    assert min(figures("cosine", **one)["explicit"]) >= 0.99
    errors = figures("error", **one)
    assert max(errors["explicit"]) < 1 / 6 < 0.2 and max(errors["explicit"]) < max(errors[DIRECT])
    assert max(errors["forward"] + errors["central"]) < 1e-3
    identity = figures("cosine", best_response="identity")
    assert identity["explicit"][0] > 0.999 and min(identity["explicit"]) < 0.8
    assert max(abs(cosine) for cosine in identity[DIRECT]) < 0.5 and min(identity["forward"]) > 0.999
    for steps, border in ((2, 0.97), (4, 0.86)):
        last = figures("cosine", task="sst2", unroll_steps=steps)
        assert all(cosines[-1] < border for cosines in last.values())
