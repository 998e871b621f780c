"""Rows of the table, and the settings for all rows."""

from __future__ import annotations

import math

from agwm.model_selection.record import FoldRecord, TrialRecord
from agwm.model_selection.table import agreed_settings, metric_bounds

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
