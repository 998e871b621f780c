"""Names of tasks, models and labels stand in pictures as they are, also where they look like a formula."""

from __future__ import annotations

import pytest

from agwm.experiments.reporting.comparison_pictures import draw_alpha_effects, draw_cost
from agwm.experiments.reporting.picture_parts import new_figure, save_figure
from agwm.experiments.reporting.pictures import draw_alpha, draw_scores
from tests.experiments.records import changed
from tests.experiments.reporting.synthetic import make_records

pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")

NAME = r"$5_vs_$6 \frac{a"


def test_dollars_are_no_formula_in_any_picture(tmp_path):
    records = [changed(record, task=NAME, model=NAME) for record in make_records()]
    own = [record for record in records if record.method == "agwm"]
    for name, draw in {
        "scores": lambda path: draw_scores(records, path),
        "alpha": lambda path: draw_alpha(own, path),
        "cost": lambda path: draw_cost(records, path),
        "effects": lambda path: draw_alpha_effects(records, path),
    }.items():
        draw(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_labels_of_ticks_and_legends(tmp_path):
    figure = new_figure(3, 2)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], label=NAME)
    axis.set_xticks([0, 1], [NAME, "b"])
    figure.legend()
    save_figure(figure, tmp_path / "a.svg")
    # one mark a letter: the name is drawn as it is, its dollars with it
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").count(f"<!-- {NAME} -->") == 2
