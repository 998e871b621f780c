"""Rows of the table, and the settings for all rows."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from agwm.data import Task
from agwm.evaluation.significance import corrected_interval
from agwm.model_selection.material import Material
from agwm.model_selection.options import FitOptions
from agwm.model_selection.record import FoldRecord, TrialRecord
from agwm.model_selection.table import agreed_settings, make_rows, metric_bounds

LOW, HIGH, LONG = ({"learning_rate": rate, "epochs": number} for rate, number in ((1, 2), (3, 2), (3, 4)))


def record(*trials: tuple[dict, float | None]) -> FoldRecord:
    made = [TrialRecord(settings, score) for settings, score in trials]
    return FoldRecord("vanilla", 0, 0, [0], [[1.0]], 1.0, dict(LOW), made)


def test_the_settings_for_all_rows_have_the_best_mean_over_the_folds():
    # Two of three folds chose LOW, and HIGH is better on average.
    folds = [
        record((LOW, 0.8), (HIGH, 0.79)),
        record((LOW, 0.8), (HIGH, 0.79)),
        record((LOW, 0.2), (HIGH, 0.8)),
    ]
    assert agreed_settings(folds, "accuracy") == HIGH
    assert agreed_settings(folds, "log_loss") == LOW


def test_settings_that_few_folds_tried_do_not_win():
    folds = [record((LOW, 0.8), (LONG, 0.9)), record((LOW, 0.7)), record((LOW, 0.75), (HIGH, None))]
    assert agreed_settings(folds, "accuracy") == LOW


def test_without_trials_the_given_settings_stay():
    assert agreed_settings([record(), record()], "accuracy") == LOW
    assert agreed_settings([record((HIGH, None))], "accuracy") == LOW


def test_bounds_of_metrics():
    assert metric_bounds("accuracy") == (0, 1) and metric_bounds("matthews") == (-1, 1)
    assert metric_bounds("mae") == (0, math.inf)


def fold(number: int, rows: list[int], hits: list[bool], repeat: int = 0) -> FoldRecord:
    """A fold whose right answers are given; all rows are of class 1."""
    outputs = [[0.1, 0.9] if hit else [0.9, 0.1] for hit in hits]
    return FoldRecord("vanilla", repeat, number, rows, outputs, sum(hits) / len(hits), dict(LOW), [])


def rows_of(folds: list[FoldRecord]) -> dict:
    """The table of a candidate's folds beside a constant answer that is right in half of the rows."""
    count = len({row for one in folds for row in one.rows})
    task = Task("mine", ("sentence1",), ("no", "yes"))
    material = Material(task, [], np.ones(count, dtype=int), FitOptions(), 128, 1)
    constant = []
    for one in folds:
        outputs = [[float(row % 2), float(1 - row % 2)] for row in one.rows]
        right = sum(row % 2 == 0 for row in one.rows) / len(one.rows)
        constant.append(dataclasses.replace(one, candidate="constant", outputs=outputs, score=right))
    return {row.name: row for row in make_rows(material, [*constant, *folds], {})}


def four_folds(right: list[int], repeat: int = 0) -> list[FoldRecord]:
    """Four folds of 20 rows with so many right answers each."""
    return [
        fold(k, list(range(20 * k, 20 * k + 20)), [row < count for row in range(20)], repeat)
        for k, count in enumerate(right)
    ]


def test_folds_that_score_alike_do_not_make_an_interval_narrower_than_their_rows():
    for right in ([16, 16, 16, 16], [16, 16, 16, 17]):
        wilson = binomtest(sum(right), 80).proportion_ci(method="wilson")
        row = rows_of(four_folds(right))["vanilla"]
        assert row.verdict == "chosen" and row.score == pytest.approx(sum(right) / 80)
        assert (row.low, row.high) == pytest.approx((wilson.low, wilson.high))


def test_folds_that_vary_more_than_their_rows_make_the_interval():
    right = [10, 20, 14, 20]
    row = rows_of(four_folds(right))["vanilla"]
    low, high = corrected_interval([count / 20 for count in right], 60, 20)
    assert row.low == pytest.approx(low) and row.high == 1.0 < high


def test_repetitions_are_no_more_rows():
    wilson = binomtest(16 * 4, 80).proportion_ci(method="wilson")
    row = rows_of([*four_folds([16] * 4), *four_folds([16] * 4, repeat=1)])["vanilla"]
    assert (row.low, row.high) == pytest.approx((wilson.low, wilson.high))
