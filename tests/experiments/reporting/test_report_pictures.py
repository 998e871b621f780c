"""Pictures of a comparison have a mark for what they show."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from agwm.errors import DataError
from agwm.experiments.reporting.alpha_effects import alpha_effects, start_of_alpha
from agwm.experiments.reporting.comparison_pictures import draw_alpha_effects, draw_cost
from agwm.experiments.reporting.page import pictures_of
from agwm.experiments.reporting.pictures import alpha_grid, draw_alpha, draw_scores
from agwm.experiments.reporting.sections import alpha_section
from tests.experiments.records import changed
from tests.experiments.reporting.synthetic import SCORES, make_records

pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")

from agwm.experiments.reporting import comparison_pictures, lanes, picture_parts, pictures


@pytest.fixture
def figure(monkeypatch):
    """Return the axes of the figure that is saved last, as a function; it is still written."""
    kept = []

    def keep(figure, path):
        kept.append(figure)
        picture_parts.save_figure(figure, path)

    monkeypatch.setattr(pictures, "save_figure", keep)
    monkeypatch.setattr(comparison_pictures, "save_figure", keep)
    return lambda: kept[-1].axes


def marks(axis):
    """Return the lines that are dots: name of the mark -> number of points."""
    return [line for line in axis.lines if line.get_linestyle() == "None" and len(line.get_xdata())]


def test_scores_have_a_mark_a_run(tmp_path, figure):
    draw_scores(make_records(), tmp_path / "scores.png")
    rte, stsb = figure()
    assert (tmp_path / "scores.png").stat().st_size > 5000
    assert len(marks(rte)) == 3 + 3 + 2 + 3 and len(marks(stsb)) == 3 + 3 + 2 + 3
    assert [text.get_text() for text in rte.texts] == ["1 failed"] and not stsb.texts
    assert [label.get_text() for label in rte.get_yticklabels()] == list(SCORES)
    hollow = [line for line in marks(rte) if line.get_markerfacecolor() == "none"]
    assert [line.get_xdata()[0] for line in hollow] == pytest.approx([50.0])
    low, high = rte.get_xlim()
    assert all(low < line.get_xdata()[0] < high for line in marks(rte))
    # a seed has the same height in every strip
    heights = {round(line.get_ydata()[0] % 1, 6) for line in marks(stsb)}
    assert len(heights) == 3


def test_marks_at_the_ends_are_not_cut(tmp_path, figure):
    draw_scores(
        make_records({"vanilla": {"rte": (0.6,)}, "agwm": {"rte": (0.7,)}}), tmp_path / "scores.png"
    )
    (axis,) = figure()
    low, high = axis.get_xlim()
    assert low < 59.9 and high > 70.1
    draw_scores(make_records({"agwm": {"rte": (0.7, 0.7)}}), tmp_path / "scores.png")
    assert figure()[0].get_xlim() == pytest.approx((69.0, 71.0))


def test_twenty_methods_are_told_apart(tmp_path, figure):
    scores = {f"vanilla_k{number:02d}": {"rte": (0.5, 0.6)} for number in range(30)}
    styles = picture_parts.styles_of([*SCORES, *scores])
    assert len(set(styles.values())) == len(styles) == 34
    draw_scores(make_records(scores), tmp_path / "scores.png")
    (axis,) = figure()
    assert len(axis.get_yticklabels()) == 30
    assert axis.get_figure().get_size_inches()[1] > 9


def test_cost_has_a_mark_a_method_for_passes_and_for_time(tmp_path, figure):
    draw_cost(make_records(), tmp_path / "cost.png")
    axes = figure()
    assert len(axes) == 4 and all(len(axis.containers) == 4 for axis in axes)
    assert [axis.get_xlabel() for axis in axes[:2]] == [
        "forward and backward passes",
        "time of training in s",
    ]
    x = sorted({float(c.lines[0].get_xdata()[0]) for c in axes[0].containers})
    assert x == [57.0, 237.0]
    with pytest.raises(DataError, match="Nothing to draw"):
        draw_cost(make_records({"vanilla": {"rte": (None,)}}), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_alpha_is_drawn_for_each_method_that_learned_it(tmp_path, figure):
    scores = {**SCORES, "random_alpha": SCORES["agwm"], "joint_alpha": SCORES["agwm"]}
    records = make_records(scores)
    alpha = {"pooler.weight": {"mean": 0.9, "min": 0.5, "max": 1.0}}
    records = [changed(r, alpha=alpha) if r.method.endswith("_alpha") else r for r in records]
    draw_alpha(records, tmp_path / "alpha.png")
    *panels, _ = figure()
    titles = [axis.get_title().split(",")[0] for axis in panels]
    assert titles == [
        f"{label}: {task}" for label in ("joint_alpha", "agwm", "agwm_k5") for task in ("rte", "stsb")
    ]
    assert [len(axis.texts) for axis in panels] == [1, 1, 5, 5, 5, 5]
    random_alone = [r for r in records if r.method == "random_alpha"]
    with pytest.raises(DataError, match="No alpha to draw"):
        alpha_grid(random_alone)
    with pytest.raises(DataError, match="No alpha to draw"):
        draw_alpha(random_alone, tmp_path / "none.png")


def test_effects_are_paired_with_the_control_by_seed():
    effects = {(e.run.label, e.run.task, e.run.seed): e for e in alpha_effects(make_records())}
    one = effects["agwm", "rte", 7]
    assert one.reference == "frozen" and one.difference == pytest.approx(0.05)
    # five matrices: 0.010, 0.011, 0.020, 0.021 and 0.020
    assert one.moved == pytest.approx(0.082 / 5) and one.lowest == pytest.approx(0.9)
    assert one.from_start is None
    assert effects["agwm", "rte", 6].difference is None
    assert not any(label in ("vanilla", "frozen") for label, *_ in effects)


def runs_with_the_unlearned():
    """Return runs of frozen, agwm_k1 and agwm_k1_lr0, which is the exact control of agwm_k1."""
    own = {"agwm_k1": (0.7, 0.7, 0.7), "agwm_k1_lr0": (0.6, 0.65, None), "frozen": (0.5, 0.5, 0.5)}
    records = make_records({label: {"rte": scores} for label, scores in own.items()})
    for record in records:
        rate = 0.0 if record.label == "agwm_k1_lr0" else 2e-3
        record.settings["search"]["attention_learning_rate"] = rate
    return records


def test_what_learning_brought_is_over_what_is_drawn():
    effects = {(e.run.label, e.run.seed): e for e in alpha_effects(runs_with_the_unlearned())}
    one = effects["agwm_k1", 5]
    assert (one.drawn, one.held, one.reference) == ("agwm_k1_lr0", "frozen", "agwm_k1_lr0")
    assert one.over_drawn == one.difference == pytest.approx(0.1) and one.over_held == pytest.approx(0.2)
    # no other control stands in on a seed that lacks the exact one
    assert effects["agwm_k1", 7].difference is None and effects["agwm_k1", 7].over_held is not None
    control = effects["agwm_k1_lr0", 5]
    assert not control.is_learned and control.difference is None
    assert control.over_held == pytest.approx(0.1)


def test_what_does_not_learn_is_in_no_picture_of_learning(tmp_path, figure):
    runs = runs_with_the_unlearned()
    names = [picture.name for picture in pictures_of(runs)]
    assert [name for name in names if name.startswith("alpha--")] == ["alpha--agwm_k1--tiny--n300.png"]
    draw_alpha_effects(runs, tmp_path / "effect.png")
    (axis,) = figure()
    assert [sum(len(line.get_xdata()) for line in marks(axis))] == [2]
    assert [y for line in marks(axis) for y in line.get_ydata()] == pytest.approx([10, 5])
    (legend,) = axis.get_figure().legends
    assert [text.get_text() for text in legend.get_texts()] == ["agwm_k1 − agwm_k1_lr0"]
    draw_alpha(runs, tmp_path / "alpha.png")
    assert len(figure()) == 2  # a panel and the scale of colours
    alone = [run for run in runs if run.label == "agwm_k1_lr0"]
    assert not [picture for picture in pictures_of(alone) if picture.name.startswith("alpha")]
    with pytest.raises(DataError, match="No alpha to draw"):
        draw_alpha(alone, tmp_path / "none.png")


def test_the_table_of_alpha_tells_the_controls_apart():
    text = "".join(alpha_section(runs_with_the_unlearned()))
    lines = [[c.strip() for c in line.split("|")] for line in text.splitlines() if line.startswith("|")]
    cells = {line[2]: line[-3:-1] for line in lines}
    assert cells["method"] == ["over alpha as drawn", "over alpha at 1"]
    assert cells["agwm_k1"] == ["+7.50 (2)", "+20.00 (3)"]
    assert cells["agwm_k1_lr0 (not learned)"] == ["-", "+12.50 (2)"]


def test_start_of_alpha_is_what_the_forms_draw():
    import torch

    from agwm.mixing.alpha import RankOneAlpha, RowAlpha

    run = next(run for run in make_records() if run.label == "agwm")
    size = torch.Size([400, 400])
    generator = torch.Generator().manual_seed(0)
    for name, form in (("rank1", RankOneAlpha), ("row", RowAlpha)):
        run.settings["mixing"]["alpha"] = name
        drawn = 1 - float(form(size, init_std=0.005, generator=generator)().detach().mean())
        assert drawn == pytest.approx(start_of_alpha(run), rel=0.15)
    assert start_of_alpha(run) == pytest.approx(0.005 / math.sqrt(2 * math.pi))
    del run.settings["mixing"]
    assert start_of_alpha(run) is None


def test_alpha_effects_have_a_mark_a_seed(tmp_path, figure):
    draw_alpha_effects(make_records(), tmp_path / "effect.png")
    rte, stsb = figure()
    assert [sum(len(line.get_xdata()) for line in marks(axis)) for axis in (rte, stsb)] == [5, 5]
    runs = make_records()
    for run in runs:
        for numbers in run.train_info.alpha.values():
            numbers["from_start"] = 0.002
    draw_alpha_effects(runs, tmp_path / "effect.png")
    assert len(figure()) == 4
    places = [x for line in marks(figure()[1]) for x in line.get_xdata()]
    assert places == pytest.approx([0.002] * 5)
    with pytest.raises(DataError, match="expected seeds of agwm and of a control"):
        draw_alpha_effects([run for run in runs if run.method != "frozen"], tmp_path / "none.png")


def many_records():
    """Return records of forty labels that learned alpha, with their control."""
    many = {f"agwm_k{place}": {"rte": (0.5 + place / 100, 0.6)} for place in range(1, 41)}
    return make_records({**many, "frozen": {"rte": (0.5, 0.5)}})


def test_captions_say_which_picture_it_is():
    for records, word in ((make_records(), "dotted"), (many_records(), "a lane a method")):
        texts = {picture.name.split("--")[0]: picture.text for picture in pictures_of(records)}
        assert word in texts["alpha_effect"] and ("lane" in texts["cost"]) == ("lane" in word)


@pytest.mark.parametrize("draw", [draw_cost, draw_alpha_effects])
def test_forty_methods_have_a_lane_each(draw, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(lanes, "save_figure", lambda figure, path: kept.append(figure))
    draw(many_records(), tmp_path / "many.png")
    (figure,) = kept
    first, *others = figure.axes
    names = [label.get_text() for label in first.get_yticklabels()]
    # the best on top, each with its name, and no legend to decode
    assert names[0].split(" − ")[0] == "agwm_k40" and len(names) == len(set(names)) >= 40
    assert not figure.legends and all(axis.get_ylim() == first.get_ylim() for axis in others)
    assert {text.get_text() for axis in others for text in axis.get_yticklabels()} == {""}
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in first.get_yticklabels()]
    assert all(lower.y1 <= upper.y0 + 1 for upper, lower in pairwise(boxes))
    best = next(line for line in first.lines if len(line.get_xdata()) == 1)
    expected = 75.0 if draw is draw_cost else 25.0
    assert best.get_xdata()[0] == pytest.approx(expected) and best.get_ydata()[0] == 0
