"""Which label of a method its dev sets would have chosen."""

from __future__ import annotations

import pytest

from agwm.experiments.reporting.dev_scores import dev_scores, dev_section
from tests.experiments.records import changed
from tests.experiments.reporting.synthetic import make_records

TEST = {
    "vanilla": {"rte": (0.5, 0.6, 0.7)},
    "frozen": {"rte": (0.6, 0.62, 0.7)},
    "agwm": {"rte": (0.65, 0.8, 0.75)},
    "agwm_k5": {"rte": (0.7, 0.7, 0.7)},
}
# agwm_k5 has the higher dev scores and the lower test scores
DEV = {"agwm": (0.6, 0.6, 0.6), "agwm_k5": (0.5, 0.7, 0.8)}


def runs_with(dev, scores=TEST):
    seeds = {run.seed: place for place, run in enumerate(make_records({"vanilla": scores["vanilla"]}))}
    return [
        changed(run, dev=dev[run.label][seeds[run.seed]] if run.label in dev else run.scores.dev)
        for run in make_records(scores)
    ]


def test_the_highest_mean_dev_score_is_chosen_and_test_has_no_say():
    chosen = {one.label: one.is_chosen for one in dev_scores(runs_with(DEV))}
    assert chosen == {"agwm": False, "agwm_k5": True}
    other = {**DEV, "agwm": (0.7, 0.7, 0.7)}
    assert {one.label: one.is_chosen for one in dev_scores(runs_with(other))} == {
        "agwm": True,
        "agwm_k5": False,
    }


def test_all_of_a_tie_are_chosen():
    tied = {"agwm": (0.5, 0.6, 0.8), "agwm_k5": (0.8, 0.6, 0.5)}
    assert all(one.is_chosen for one in dev_scores(runs_with(tied)))


def test_section_by_hand():
    _, note, text = dev_section(runs_with(DEV))
    assert "at least 3 scored seeds" in note
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in text.splitlines()]
    assert lines[2:] == [
        ["rte", "agwm", "agwm", "3", "60.00 ± 0.00", "73.33 ± 6.24"],
        ["rte", "agwm", "agwm_k5", "3", "**66.67 ± 12.47**", "70.00 ± 0.00"],
    ]


def test_labels_are_compared_on_common_seeds():
    runs = runs_with(DEV)
    extra = changed(runs[-1], label="agwm", seed=99, test=0.1, dev=1.0)
    # with its fourth seed agwm would have the higher mean
    assert [(one.label, one.is_chosen, len(one.dev)) for one in dev_scores([*runs, extra])] == [
        ("agwm", False, 3),
        ("agwm_k5", True, 3),
    ]


@pytest.mark.parametrize("missing", ["test", "dev"])
def test_a_label_with_few_scored_seeds_is_left_out(missing):
    runs = runs_with(DEV)
    assert dev_scores([*runs[:-1], changed(runs[-1], **{missing: None})]) == []
    assert dev_section([*runs[:-1], changed(runs[-1], **{missing: None})]) == []


def test_labels_without_common_seeds_are_not_compared():
    runs = [changed(run, seed=run.seed + 50 * (run.label == "agwm_k5")) for run in runs_with(DEV)]
    assert dev_scores(runs) == []
