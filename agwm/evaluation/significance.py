"""Two-sided t-tests by scipy, with confidence intervals, and Holm's correction for many of them."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from agwm.errors import DataError

__all__ = ["LEVEL", "TTest", "holm", "paired_t_test", "welch_t_test"]

# Of significance; intervals are of confidence 1 - LEVEL.
LEVEL = 0.05
# Scores are fractions of a few thousand examples, so a smaller spread is rounding.
_NO_SPREAD = 1e-9


@dataclass(frozen=True)
class TTest:
    """The outcome of one test of "the means are equal".

    Attributes:
        difference: Mean of the first sample minus that of the second, in their unit; None: no numbers.
        low: Lower end of its 95 % confidence interval; None: not tested.
        high: Upper end.
        statistic: t; None: not tested.
        degrees: Degrees of freedom; None: not tested.
        p_value: Two-sided; None: not tested.
        reason: Why there was no test; "" where there was one.
    """

    difference: float | None
    low: float | None = None
    high: float | None = None
    statistic: float | None = None
    degrees: float | None = None
    p_value: float | None = None
    reason: str = ""


def paired_t_test(first: Sequence[float], second: Sequence[float]) -> TTest:
    r"""Test whether the mean of the differences of pairs is zero.

    .. math:: t = \bar d / (s_d / \sqrt{n}), \quad d_i = x_i - y_i, \quad n - 1 \text{ degrees of freedom}

    Args:
        first: x.
        second: y, each the partner of the x at its place.

    Returns:
        The outcome; not tested with fewer than two pairs, or where the differences do not vary.

    Raises:
        DataError: If the two differ in length.
    """
    if len(first) != len(second):
        raise DataError(
            f"Cannot pair: expected two samples of one length, got {len(first)} and {len(second)} numbers."
        )
    differences = [x - y for x, y in zip(first, second, strict=True)]
    if not differences:
        return TTest(None, reason="no common seed")
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return TTest(mean, reason="1 common seed")
    if _spread(differences) <= _NO_SPREAD:
        return TTest(mean, reason="the differences do not vary")
    return _outcome(mean, _quietly(stats.ttest_rel, first, second))


def welch_t_test(first: Sequence[float], second: Sequence[float]) -> TTest:
    r"""Test whether two independent samples, of variances that may differ, have equal means.

    .. math:: t = (\bar x - \bar y) / \sqrt{s_x^2/n_x + s_y^2/n_y}

    with the degrees of freedom of Welch and Satterthwaite.

    Args:
        first: x.
        second: y.

    Returns:
        The outcome; not tested with fewer than two numbers in a sample, or where neither varies.
    """
    if not first or not second:
        return TTest(None, reason="no score")
    mean = statistics.fmean(first) - statistics.fmean(second)
    if min(len(first), len(second)) < 2:
        return TTest(mean, reason="1 score")
    if max(_spread(first), _spread(second)) <= _NO_SPREAD:
        return TTest(mean, reason="the scores do not vary")
    return _outcome(mean, _quietly(stats.ttest_ind, first, second, equal_var=False))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    r"""Correct a family of tests for their number, by Holm's step-down method.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1)\, p_{(j)})

    with :math:`p_{(1)} \le \dots \le p_{(m)}`.

    Args:
        p_values: Those of one family; None: not tested, and not counted in m.

    Returns:
        The corrected ones at their places; None where there was None.

    Raises:
        DataError: If one is outside [0, 1].
    """
    bad = [p for p in p_values if p is not None and not 0.0 <= p <= 1.0]
    if bad:
        raise DataError(f"No p-value: expected a number in [0, 1], got {bad[0]!r}.")
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    result: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for index, (p, place) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - index) * p))
        result[place] = highest
    return result


def _spread(sample: Sequence[float]) -> float:
    return max(sample) - min(sample)


def _quietly(test: Callable[..., Any], *samples: Sequence[float], **options: Any) -> Any:
    """Run a test of scipy without its warning of nearly equal numbers: the callers look at the spread."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss occurred", RuntimeWarning)
        return test(*samples, **options)


def _outcome(mean: float, result: Any) -> TTest:
    """Return what scipy found; the mean is taken exactly, as a sum of fractions."""
    interval = result.confidence_interval(1 - LEVEL)
    return TTest(
        difference=mean,
        low=float(interval.low),
        high=float(interval.high),
        statistic=float(result.statistic),
        degrees=float(result.df),
        p_value=float(result.pvalue),
    )
