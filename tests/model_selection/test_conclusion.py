"""The conclusion in words, for one to forty candidates, scores and losses, and when nothing learned."""

from __future__ import annotations

import dataclasses

import pytest

from agwm.model_selection.comparison import compare
from agwm.model_selection.conclusion import conclusion, table_text
from agwm.model_selection.record import CandidateRow
from agwm.model_selection.words import decimals, number, settings_words, tried_words


def row(name, verdict, score=None, low=None, high=None, difference=None, **options):
    ends = {} if difference is None else {
        "difference": difference[0], "difference_low": difference[1], "difference_high": difference[2],
    }  # fmt: skip
    return CandidateRow(name, verdict, score, low, high, [], 12.0, 3.0, **ends, **options)


PROBE = row("probe", "chosen", 0.8911, 0.8604, 0.9218, settings="C 0.1 (4 of 5 folds)")
VANILLA = row("vanilla", "worse", 0.85, 0.80, 0.90, (-0.041, -0.073, -0.0092), p_value=0.012)
CONSTANT = row("constant", "reference", 0.56, 0.55, 0.57, (-0.33, -0.36, -0.30))
TIED = [row(name, "tied", 0.88, 0.85, 0.91, (-0.01, -0.03, 0.02), p_value=0.4) for name in ("agwm", "LoRA")]


def test_conclusion_of_four():
    assert conclusion([PROBE, *TIED, VANILLA, CONSTANT], "accuracy") == (
        "Take probe: accuracy 0.89 [0.86, 0.92]. agwm (0.88) and LoRA (0.88) are not told apart from it;"
        " vanilla is lower by 0.04 [0.01, 0.07]. A constant answer has 0.56."
    )


def test_conclusion_of_one():
    assert conclusion([PROBE], "f1") == "Take probe: f1 0.89 [0.86, 0.92]."
    assert (
        conclusion([row("a", "chosen", 1.0), CONSTANT], "f1")
        == "Take a: f1 1.00. A constant answer has 0.56."
    )


def test_means_of_tied_ones_are_told_above_and_far_below():
    above, below = (dataclasses.replace(TIED[0], score=score) for score in (0.904, 0.38))
    assert "agwm (0.90) and LoRA (0.88) are not told apart from it." in conclusion(
        [above, PROBE, TIED[1]], "accuracy"
    )
    assert "agwm (0.38) is not told apart from it." in conclusion([PROBE, below], "accuracy")


def test_losses_are_worded_right():
    rows = [
        row("probe", "chosen", 31.2, 27.0, 36.0),
        row("agwm", "worse", 36.4, 30.0, 42.0, (5.2, 2.1, 8.3)),
        row("constant", "reference", 80.0, 75.0, 85.0),
    ]
    assert conclusion(rows, "mae", greater_is_better=False) == (
        "Take probe: mae 31 [27, 36]. agwm is higher, which is worse, by 5 [2, 8]. A constant answer"
        " has 80."
    )


def test_what_did_not_learn_and_what_failed():
    rows = [
        PROBE,
        *(row(name, "not learned", 0.56) for name in ("prompt", "prefix", "bitfit")),
        row("setfit", "failed", failure="Cannot import sentence-transformers: expected\nit, got none."),
        CONSTANT,
    ]
    tried = {"prompt": "learning_rate 1e-5, 1e-3", "prefix": "learning_rate 1e-5, 1e-3"}
    assert conclusion(rows, "accuracy", tried=tried) == (
        "Take probe: accuracy 0.89 [0.86, 0.92]. prompt and prefix did not learn (tried learning_rate 1e-5,"
        " 1e-3); bitfit did not learn. setfit failed: Cannot import sentence-transformers: expected it, got"
        " none. A constant answer has 0.56."
    )


def test_nothing_learned():
    rows = [row("lora", "not learned", 0.55, 0.5, 0.6), CONSTANT, row("a", "failed"), row("b", "failed")]
    assert conclusion(rows, "accuracy", tried={"lora": "learning_rate 1e-5"}) == (
        "Take none: no candidate is better than a constant answer (accuracy 0.56 [0.55, 0.57]). lora did"
        " not learn (tried learning_rate 1e-5). a and b failed. Check that texts and labels belong"
        " together, add rows, or take another model."
    )
    assert conclusion([CONSTANT], "accuracy").startswith("Take none: no candidate is better")


@pytest.mark.parametrize("number_of", [4, 40])
def test_long_lists_are_cut(number_of):
    rows = [PROBE, CONSTANT]
    for verdict, difference in (("tied", -0.01), ("worse", -0.1), ("not learned", None)):
        for i in range(number_of):
            moved = (
                None if difference is None else (difference - i / 100, difference - 0.05, difference + 0.05)
            )
            rows.append(row(f"{verdict[0]}{i}", verdict, 0.8, difference=moved))
    said = conclusion(rows, "accuracy")
    if number_of == 4:
        assert (
            "t0 (0.80), t1 (0.80), t2 (0.80) and t3 (0.80) are not told apart" in said
            and "w2 by 0.12 [0.05, 0.15] and w3 by" in said
        )
    else:
        assert len(said) < 400
        assert (
            "t0 (0.80), t1 (0.80), t2 (0.80), t3 (0.80) and 36 more are not told apart from it; w0 is lower"
            " by 0.10 [0.05, 0.15]," in said
        )
        assert "w2 by 0.12 [0.05, 0.15] and 37 more by 0.13 to 0.49." in said
        assert "n0, n1, n2, n3 and 36 more did not learn." in said


def test_table_says_what_the_rows_hold():
    lines = table_text(
        [PROBE, VANILLA, row("a_b|c", "failed", failure="x" * 300), CONSTANT], "accuracy"
    ).splitlines()
    cells = [[cell.strip() for cell in line.replace("\\|", "!").split("|")[1:-1]] for line in lines]
    assert len({len(line) for line in lines}) == 1 and {len(line) for line in cells} == {7}
    assert cells[2] == ["probe", "0.89 [0.86, 0.92]", "", "", "12 s", "chosen", "C 0.1 (4 of 5 folds)"]
    assert cells[3][1:6] == ["0.85 [0.80, 0.90]", "-0.04 [-0.07, -0.01]", "0.012", "12 s", "worse"]
    assert (
        cells[4][0] == "a_b!c" and cells[4][1] == "" and cells[4][5] == "failed" and len(cells[4][6]) <= 80
    )


def test_table_of_a_comparison():
    scores = {"constant": [0.5] * 3, "probe": [0.9, 0.91, 0.92]}
    text = table_text(compare(scores, "constant", {"probe": 1}, 200, 100), "accuracy")
    assert text.splitlines()[2].split() == ("| probe | 0.91 [0.87, 0.95] | | | 0 s | chosen | |".split())


def test_decimals_follow_the_error():
    def of(low, high, score):
        return decimals([row("a", "chosen", score, low, high), row("b", "worse", score, 0.0, 9.0)])

    assert of(0.86, 0.92, 0.89) == 2 and of(0.891, 0.897, 0.894) == 3 and of(0.2, 0.9, 0.5) == 2
    assert of(1150.0, 1250.0, 1200.0) == 0 and of(20.1, 20.9, 20.5) == 1
    assert decimals([row("a", "chosen", 1.0)]) == 2 and decimals([]) == 2
    assert decimals([row("a", "not learned", 0.5, 0.4995, 0.5005)]) == 4


def test_settings_in_words():
    assert settings_words([]) == tried_words([]) == ""
    assert settings_words([{"lr": 5e-4}, {"lr": 5e-4}, {}]) == "lr 5e-4 (2 of 3 folds)"
    rates = [{"lr": 10.0**-power, "kind": "x"} for power in range(1, 7)]
    assert tried_words(rates) == "lr 1e-6 to 0.1; kind x"
    assert tried_words([{"lr": 2.5e-4}, {"lr": 0.002}, {"lr": 0.0}]) == "lr 0, 2.5e-4, 2e-3"
    assert number(0.0, 2) == "0.00" and number(-0.0004, 2) == "-0.0004"
