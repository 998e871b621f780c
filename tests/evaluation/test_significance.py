"""t-tests and Holm's correction against values worked out by hand, scipy, and the closed procedure."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agwm.errors import DataError
from agwm.evaluation.significance import holm, paired_t_test, welch_t_test

FIRST, SECOND = [0.61, 0.70, 0.66, 0.73, 0.58], [0.60, 0.64, 0.67, 0.65, 0.55]


def test_paired_by_hand():
    # Differences 1, 2, 3: mean 2, deviation 1, error 1/sqrt(3), t = 2 sqrt(3). With two degrees of freedom
    # p = 1 - t / sqrt(t^2 + 2) = 1 - sqrt(12/14), and the 97.5 % point solves it for p = 0.05.
    found = paired_t_test([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    point = math.sqrt(2) * 0.95 / math.sqrt(1 - 0.95**2)
    assert found.statistic == pytest.approx(2 * math.sqrt(3))
    assert found.degrees == 2 and found.reason == ""
    assert found.p_value == pytest.approx(1 - math.sqrt(12 / 14))
    assert found.difference == pytest.approx(2)
    assert (found.low, found.high) == pytest.approx((2 - point / math.sqrt(3), 2 + point / math.sqrt(3)))


def test_paired_of_two_pairs_by_hand():
    # One degree of freedom is the Cauchy distribution: p = 1 - 2 atan(t) / pi. Differences 1, 3: t = 2.
    found = paired_t_test([1.0, 3.0], [0.0, 0.0])
    assert found.p_value == pytest.approx(1 - 2 * math.atan(2) / math.pi)


def test_welch_by_hand():
    # Equal sizes and variances: 4 degrees of freedom, t = 3 / sqrt(1/3 + 1/3), p of Student's closed form.
    found = welch_t_test([4.0, 5.0, 6.0], [1.0, 2.0, 3.0])
    t = 3 / math.sqrt(2 / 3)
    x = t / math.sqrt(t**2 + 4)
    assert found.degrees == pytest.approx(4) and found.statistic == pytest.approx(t)
    assert found.p_value == pytest.approx(1 - x * (1 + (1 - x**2) / 2))
    # Unequal: variances 1/2 and 8, sizes 2 and 2: (1/4 + 4)^2 / (1/16 + 16) degrees of freedom.
    found = welch_t_test([0.0, 1.0], [2.0, 6.0])
    assert found.degrees == pytest.approx(4.25**2 / (0.0625 + 16))
    assert found.difference == pytest.approx(-3.5)


def test_too_few_numbers_are_not_tested():
    assert paired_t_test([], []).reason == "no common seed" and paired_t_test([], []).difference is None
    one = paired_t_test([0.7], [0.5])
    assert (one.p_value, one.low, one.reason) == (None, None, "1 common seed")
    assert one.difference == pytest.approx(0.2)
    assert welch_t_test([0.7], [0.5, 0.6]).reason == "1 score"
    assert welch_t_test([], [0.5, 0.6]).reason == "no score"
    with pytest.raises(DataError, match="Cannot pair: expected two samples of one length, got 1 and 2"):
        paired_t_test([1.0], [1.0, 2.0])


def test_no_variance_is_not_tested():
    # Differences that are 0.1 but for rounding: a test would give p = 0 with two seeds.
    found = paired_t_test([0.6, 0.7, 0.8], [0.5, 0.6, 0.7])
    assert (found.p_value, found.reason) == (None, "the differences do not vary")
    assert found.difference == pytest.approx(0.1)
    assert paired_t_test(FIRST, FIRST).p_value is None
    assert welch_t_test([0.5, 0.5], [0.6, 0.6]).reason == "the scores do not vary"
    # One that varies is enough for Welch's.
    assert welch_t_test([0.5, 0.5], [0.6, 0.7]).degrees == pytest.approx(1)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([None, 0.02, None, 0.03]) == [None, 0.04, None, 0.04]
    assert holm([]) == [] and holm([None]) == [None] and holm([0.2]) == [0.2]
    with pytest.raises(DataError, match="got 1.5"):
        holm([0.1, 1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_procedure_of_bonferroni(p_values):
    places = range(len(p_values))
    subsets = [s for size in places for s in itertools.combinations(places, size + 1)]
    closed = [
        max(min(1.0, len(s) * min(p_values[i] for i in s)) for s in subsets if place in s)
        for place in places
    ]
    assert holm(p_values) == pytest.approx(closed)


def test_holm_of_equal_p_values_is_bonferroni():
    p_values = [stats.ttest_rel(FIRST, SECOND).pvalue] * 3
    assert holm(p_values) == pytest.approx([3 * p_values[0]] * 3)
