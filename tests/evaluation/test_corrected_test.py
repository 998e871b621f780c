"""The t-test for overlapping folds: by hand, and by how often it finds a difference that is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agwm.errors import DataError
from agwm.evaluation.significance import corrected_interval, corrected_t_test, paired_t_test


def test_by_hand():
    # Differences 1, 2, 3: mean 2, variance 1. With 1/3 + 1/6 = 1/2 the error is sqrt(1/2), t = 2 sqrt(2).
    # With two degrees of freedom p = 1 - t / sqrt(t^2 + 2), and the 97.5 % point solves it for p = 0.05.
    found = corrected_t_test([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], num_train=60, num_test=10)
    reach = math.sqrt(2) * 0.95 / math.sqrt(1 - 0.95**2) * math.sqrt(0.5)
    assert found.statistic == pytest.approx(2 * math.sqrt(2))
    assert found.degrees == 2 and found.reason == ""
    assert found.p_value == pytest.approx(1 - math.sqrt(8 / 10))
    assert found.difference == pytest.approx(2)
    assert (found.low, found.high) == pytest.approx((2 - reach, 2 + reach))
    assert corrected_interval([1.0, 2.0, 3.0], 60, 10) == pytest.approx((2 - reach, 2 + reach))


def test_is_the_paired_test_where_no_training_rows_are_shared():
    first, second = [0.61, 0.70, 0.66, 0.73, 0.58], [0.60, 0.64, 0.67, 0.65, 0.55]
    found, other = corrected_t_test(first, second, 1e12, 1), paired_t_test(first, second)
    assert found.p_value == pytest.approx(other.p_value)
    assert (found.low, found.high) == pytest.approx((other.low, other.high))
    assert (
        corrected_t_test(second, first, 4, 1).statistic == -corrected_t_test(first, second, 4, 1).statistic
    )


def test_degenerate_folds_are_not_tested():
    assert corrected_t_test([], [], 4, 1).reason == "no common fold"
    one = corrected_t_test([0.7], [0.5], 4, 1)
    assert (one.p_value, one.low, one.reason) == (None, None, "1 common fold")
    same = corrected_t_test([0.6, 0.7, 0.8], [0.5, 0.6, 0.7], 4, 1)
    assert (same.p_value, same.reason) == (None, "the differences do not vary")
    assert same.difference == pytest.approx(0.1)
    for scores in ([], [0.5], [0.5, 0.5]):
        assert all(map(math.isnan, corrected_interval(scores, 4, 1)))


def test_wrong_samples_are_refused():
    with pytest.raises(DataError, match="expected two samples of one length, got 1 and 2"):
        corrected_t_test([1.0], [1.0, 2.0], 4, 1)
    with pytest.raises(DataError, match="got 0 and 1"):
        corrected_t_test([1.0, 2.0], [1.0, 2.5], 0, 1)
    with pytest.raises(DataError, match="got 4 and 0"):
        corrected_interval([1.0, 2.0], 4, 0)


def fold_scores(feature, labels, tests):  # shapes: (rows,), (rows,), (folds, rows)
    """Accuracy on each fold of a threshold halfway between the two classes' means in its training part."""
    train = ~tests
    means = [train @ (feature * (labels == c)) / (train @ (labels == c).astype(float)) for c in (0, 1)]
    above = feature[None] > (means[0] + means[1])[:, None] / 2
    right = (above == (means[1] > means[0])[:, None]) == labels.astype(bool)
    return (right & tests).sum(axis=1) / tests.sum(axis=1)


def test_finds_no_difference_where_there_is_none_about_as_often_as_it_says():
    # The two learners see one feature each, of the same distribution: on average they score alike.
    rng, rows, folds, repeats = np.random.default_rng(17), 60, 5, 10
    labels = np.arange(rows) % 2
    corrected, naive = [], []
    for _ in range(400):
        features = rng.normal(size=(2, rows)) + 0.8 * labels
        tests = np.zeros((repeats * folds, rows), bool)
        for repeat in range(repeats):
            for fold, held_out in enumerate(np.split(rng.permutation(rows), folds)):
                tests[repeat * folds + fold, held_out] = True
        first, second = (fold_scores(feature, labels, tests).tolist() for feature in features)
        corrected.append(corrected_t_test(first, second, 48, 12).p_value < 0.05)
        naive.append(paired_t_test(first, second).p_value < 0.05)
    assert 0.02 < np.mean(corrected) < 0.09
    assert np.mean(naive) > 0.3
