"""Two-sided t-tests by scipy, with confidence intervals, for other seeds and for overlapping folds."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from agwm.errors import DataError

__all__ = [
    "LEVEL",
    "TTest",
    "corrected_error",
    "corrected_interval",
    "corrected_t_test",
    "holm",
    "paired_t_test",
    "welch_t_test",
]

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


def corrected_t_test(
    first: Sequence[float],
    second: Sequence[float],
    num_train: float,
    num_test: float,
) -> TTest:
    r"""Test whether two methods score alike, on folds whose training parts overlap.

    .. math:: t = \bar d \Big/ \sqrt{\Big(\frac 1 J + \frac{n_\text{test}}{n_\text{train}}\Big) s_d^2},
        \quad d_j = x_j - y_j, \quad J - 1 \text{ degrees of freedom}

    The corrected resampled t-test of Nadeau and Bengio, "Inference for the Generalization Error" (2003).
    The scores of folds share rows, so they vary less than those of other data would; the second term makes
    up for it. A repeated cross-validation counts all its folds: J is repetitions times folds.

    Args:
        first: x, the score on each fold.
        second: y, on the same folds.
        num_train: Rows of a training part, or their mean.
        num_test: Rows of a held-out part, or their mean.

    Returns:
        The outcome; not tested on fewer than two folds, or where the differences do not vary.

    Raises:
        DataError: If the two differ in length, or a part has no row.

    Example:
        >>> found = corrected_t_test([0.80, 0.84, 0.88], [0.80, 0.82, 0.84], num_train=200, num_test=100)
        >>> round(found.difference, 3), round(found.statistic, 3), round(found.p_value, 3)
        (0.02, 1.095, 0.388)
    """
    if len(first) != len(second):
        raise DataError(
            f"Cannot pair: expected two samples of one length, got {len(first)} and {len(second)} numbers."
        )
    differences = [x - y for x, y in zip(first, second, strict=True)]
    error = corrected_error(differences, num_train, num_test)
    if not differences:
        return TTest(None, reason="no common fold")
    mean, degrees = statistics.fmean(differences), len(differences) - 1
    if error is None:
        return TTest(mean, reason="the differences do not vary" if degrees else "1 common fold")
    reach = error * float(stats.t.ppf(1 - LEVEL / 2, degrees))
    p_value = 2 * float(stats.t.sf(abs(mean / error), degrees))
    return TTest(mean, mean - reach, mean + reach, mean / error, degrees, p_value)


def corrected_interval(
    scores: Sequence[float],
    num_train: float,
    num_test: float,
) -> tuple[float, float]:
    r"""Return the 95 % interval of a mean score over folds, with the variance of :func:`corrected_t_test`.

    Args:
        scores: The score on each fold.
        num_train: Rows of a training part, or their mean.
        num_test: Rows of a held-out part, or their mean.

    Returns:
        Its ends, which may lie outside of the metric's range. Not-a-number twice with fewer than two folds,
        and where the scores do not vary: that all folds agree says nothing on how sure the score is.

    Raises:
        DataError: If a part has no row.

    Example:
        >>> low, high = corrected_interval([0.80, 0.84, 0.88], num_train=200, num_test=100)
        >>> round(low, 3), round(high, 3)
        (0.683, 0.997)
    """
    error = corrected_error(scores, num_train, num_test)
    if error is None:
        return float("nan"), float("nan")
    mean, reach = statistics.fmean(scores), error * float(stats.t.ppf(1 - LEVEL / 2, len(scores) - 1))
    return mean - reach, mean + reach


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


def corrected_error(sample: Sequence[float], num_train: float, num_test: float) -> float | None:
    r"""Return the standard error of a mean over overlapping folds; None where it cannot be estimated.

    .. math:: s \sqrt{1 / n + n_{test} / n_{train}}

    Args:
        sample: A number for each of n folds; s is their standard deviation.
        num_train: Rows of a training part, or their mean.
        num_test: Rows of a held-out part, or their mean.

    Raises:
        DataError: If a part has no row.

    Reference:
        Nadeau and Bengio, "Inference for the generalization error", Machine Learning 2003.
    """
    if not (num_train > 0 and num_test > 0):
        raise DataError(
            f"No folds: expected a training and a held-out row or more, got {num_train!r} and {num_test!r}."
        )
    if len(sample) < 2 or _spread(sample) <= _NO_SPREAD:
        return None
    return statistics.stdev(sample) * math.sqrt(1 / len(sample) + num_test / num_train)


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
