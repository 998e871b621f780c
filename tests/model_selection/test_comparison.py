"""The choice among candidates: verdicts, ties, losses, what did not learn, and how often it is right."""

from __future__ import annotations

import numpy as np
import pytest

from agwm.errors import DataError
from agwm.evaluation.significance import corrected_error, corrected_interval, corrected_t_test
from agwm.model_selection.comparison import compare

COST = {"constant": 0.0, "probe": 1.0, "vanilla": 20.0, "lora": 22.0, "agwm": 60.0}
SCORES = {
    "constant": [0.50, 0.52, 0.50, 0.52, 0.51],
    "probe": [0.86, 0.88, 0.84, 0.87, 0.85],
    "vanilla": [0.70, 0.74, 0.69, 0.70, 0.72],
    "lora": [0.52, 0.49, 0.51, 0.60, 0.50],
    "agwm": [0.88, 0.86, 0.85, 0.88, 0.86],
}


def by_name(scores, cost=COST, **options):
    return {row.name: row for row in compare(scores, "constant", cost, 240, 60, **options)}


def test_verdicts():
    rows = by_name(SCORES)
    assert {name: row.verdict for name, row in rows.items()} == {
        "agwm": "tied", "probe": "chosen", "vanilla": "worse", "lora": "not learned",
        "constant": "reference",
    }  # fmt: skip
    assert [*rows] == ["agwm", "probe", "vanilla", "lora", "constant"]
    assert rows["lora"].failure == "not told apart from a constant answer as better than it"
    assert rows["lora"].difference is rows["lora"].p_value is rows["probe"].difference is None
    assert rows["constant"].difference == pytest.approx(0.51 - 0.86) and rows["constant"].p_value is None


def test_numbers_are_those_of_the_corrected_tests_and_of_holm():
    rows = by_name(SCORES)
    for name in ("agwm", "vanilla"):
        test = corrected_t_test(SCORES[name], SCORES["probe"], 240, 60)
        found = rows[name]
        assert (found.difference, found.difference_low, found.difference_high) == (
            test.difference, test.low, test.high,
        )  # fmt: skip
        assert found.p_value == pytest.approx(test.p_value * (2 if name == "vanilla" else 1))
        assert (found.low, found.high) == corrected_interval(SCORES[name], 240, 60)
        assert found.score == pytest.approx(np.mean(SCORES[name])) and found.fold_scores == SCORES[name]


def test_losses_are_mirrored():
    losses = {name: [1 - score for score in scores] for name, scores in SCORES.items()}
    rows, mirrored = by_name(SCORES), by_name(losses, greater_is_better=False)
    assert [*rows] == [*mirrored]
    for name, row in mirrored.items():
        assert row.verdict == rows[name].verdict and row.score == pytest.approx(1 - rows[name].score)
        if row.difference is not None:
            assert row.difference == pytest.approx(-rows[name].difference)
            assert row.p_value == (rows[name].p_value and pytest.approx(rows[name].p_value))


def test_ties_go_to_the_cheap_and_among_those_to_the_steady():
    scores = {
        "constant": [0.5] * 5,
        "agwm": [0.90, 0.80, 0.86, 0.82, 0.88],
        "lora": [0.87, 0.83, 0.85, 0.84, 0.86],
        "vanilla": [0.89, 0.81, 0.85, 0.82, 0.88],
    }
    assert by_name(scores)["lora"].verdict == "chosen"  # 22 and 20 are as cheap
    assert by_name(scores, COST | {"lora": 26.0})["vanilla"].verdict == "chosen"
    assert by_name(scores, COST | {"agwm": 0.1})["agwm"].verdict == "chosen"


def test_a_tie_is_near_the_best():
    # Five folds do not tell 5 points apart here: t = 0.05 / (0.04 * sqrt(1/5 + 1/4)) = 1.9.
    agwm = [0.80, 0.85, 0.90, 0.82, 0.88]
    error = corrected_error(agwm, 240, 60)
    assert error == pytest.approx(0.04123 * 0.45**0.5, rel=1e-3)
    for short, verdicts in (
        (0.9, ("tied", "chosen")),
        (1.1, ("chosen", "tied")),
        (1.9, ("chosen", "tied")),
    ):
        probe = [0.85 - short * error] * 5
        assert corrected_t_test(agwm, probe, 240, 60).p_value > 0.1
        rows = by_name({"constant": [0.5] * 5, "probe": probe, "agwm": agwm})
        assert (rows["agwm"].verdict, rows["probe"].verdict) == verdicts


def test_a_wide_spread_helps_nobody_to_tie():
    agwm = [0.75, 0.78, 0.87, 0.80, 0.82]
    scores = {"constant": [0.5] * 5, "agwm": agwm, "vanilla": [0.82, 0.78, 0.62, 0.73, 0.85]}
    test = corrected_t_test(agwm, scores["vanilla"], 240, 60)
    assert test.statistic < 1 and test.difference > corrected_error(agwm, 240, 60)
    assert by_name(scores)["agwm"].verdict == "chosen"


def test_nothing_better_than_the_chosen_one_is_told_apart():
    # probe ties with the shaky best, but vanilla is better than probe on each fold.
    scores = {
        "constant": [0.5] * 5,
        "agwm": [0.95, 0.75, 0.92, 0.78, 0.94],
        "vanilla": [0.860, 0.851, 0.869, 0.850, 0.860],
        "probe": [0.840, 0.830, 0.850, 0.830, 0.840],
    }
    assert corrected_t_test(scores["agwm"], scores["probe"], 240, 60).statistic < 1
    rows = by_name(scores)
    assert {name: row.verdict for name, row in rows.items()} == {
        "agwm": "tied", "vanilla": "chosen", "probe": "worse", "constant": "reference",
    }  # fmt: skip


def test_failed_candidates_have_no_score_and_come_last():
    rows = by_name(
        SCORES | {"vanilla": [0.9, None, 0.9, None, 0.9], "lora": [None] * 5}, failures={"lora": "no peft"}
    )
    assert [*rows][-2:] == ["vanilla", "lora"]
    vanilla = rows["vanilla"]
    assert (vanilla.verdict, vanilla.score, vanilla.low, vanilla.difference) == ("failed", None, None, None)
    assert vanilla.failure == "failed on 2 of 5 folds" and rows["lora"].failure == "no peft"
    assert vanilla.fold_scores == [0.9, None, 0.9, None, 0.9]


def test_nothing_learned_nothing_chosen():
    rows = by_name(
        {"constant": [0.5] * 3, "lora": [0.5] * 3, "vanilla": [0.4, 0.6, 0.5], "agwm": [0.4] * 3}
    )
    assert {row.verdict for row in rows.values()} == {"not learned", "reference"}
    assert [*by_name({"constant": [0.5, 0.5]})] == ["constant"]


def test_scores_that_do_not_vary():
    rows = by_name({"constant": [0.5] * 3, "agwm": [1.0] * 3, "vanilla": [1.0] * 3, "probe": [0.9] * 3})
    assert {name: (row.verdict, row.low, row.p_value) for name, row in rows.items()} == {
        "agwm": ("tied", None, None), "vanilla": ("chosen", None, None),
        "probe": ("worse", None, None), "constant": ("reference", None, None),
    }  # fmt: skip


def test_intervals_end_at_the_bounds():
    scores = {"constant": [0.5] * 3, "probe": [0.9, 1.0, 0.95]}
    assert by_name(scores)["probe"].high > 1
    assert by_name(scores, bounds=(0, 1))["probe"].high == 1


@pytest.mark.parametrize(
    ("scores", "cost", "words"),
    [
        ({"probe": [0.5, 0.6]}, COST, "score of the constant answer 'constant' on each fold, got None"),
        ({"constant": [0.5, None]}, COST, "got \\[0.5, None\\]"),
        ({"constant": [0.5]}, COST, "two folds or more of each candidate, got 1"),
        (
            {"constant": [0.5] * 3, "probe": [0.5] * 2},
            COST,
            "scores on 3 folds of each candidate, got 2 of 'probe'",
        ),
        (
            {"constant": [0.5] * 2, "agwm": [0.5, float("nan")]},
            COST,
            "finite scores of 'agwm', or None, got nan",
        ),
        ({"constant": [0.5] * 2, "new": [0.5] * 2}, COST, "a cost of each candidate, got none of 'new'"),
    ],
)
def test_what_cannot_be_compared_is_refused(scores, cost, words):
    with pytest.raises(DataError, match=words):
        by_name(scores, cost)


def test_choice_is_right_in_simulated_selections():
    # 300 rows that candidates get right with their own probability: 5 folds of 60, the same rows for all.
    rng, picks, equal, number = np.random.default_rng(5), [], [], 60
    for right, found in (((0.75, 0.78, 0.90), picks), ((0.85, 0.85, 0.85), equal)):
        for _ in range(number):
            rows = rng.random(300)[:, None] * 0.5 + rng.random((300, 3)) * 0.5  # hard rows are hard for all
            cuts = 1 - np.sqrt((1 - np.array(right)) / 2)  # quantiles of the triangular distribution
            folds = (rows < cuts).reshape(5, 60, 3).mean(axis=1)
            scores = {
                "constant": [0.5] * 5,
                **dict(zip(("probe", "vanilla", "agwm"), folds.T.tolist(), strict=True)),
            }
            found += [name for name, row in by_name(scores).items() if row.verdict == "chosen"]
    assert len(picks) == len(equal) == number
    assert picks.count("agwm") == number  # far better: no cost weighs against it
    assert equal.count("probe") > 0.6 * number and equal.count("agwm") < 0.2 * number
