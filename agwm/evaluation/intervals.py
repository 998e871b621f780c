"""Intervals of scores for another draw of as many examples."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, bootstrap
from sklearn import config_context
from torch import Tensor

from agwm.data.metrics import compute_metric

__all__ = ["score_interval"]

_DRAWS = 399


def score_interval(
    metric: str,
    predictions: Tensor,  # shape: (examples,)
    labels: Sequence[float],
    positive: int = 1,
) -> tuple[float, float]:
    """Return the 95 % interval of a score for another draw of as many examples.

    Args:
        metric: A key of ``agwm.data.metrics.METRICS``.
        predictions: Classes or scores.
        labels: The right ones.
        positive: The class that f1 is of.

    Returns:
        Wilson's interval for accuracy; for other metrics percentiles of the bootstrap. Not-a-number twice
        where there are fewer than two examples to draw from.

    Example:
        >>> import torch
        >>> low, high = score_interval("accuracy", torch.tensor([0, 1, 1, 1]), [0, 1, 1, 0])
        >>> round(low, 3), round(high, 3)
        (0.301, 0.954)
    """
    found, right = np.asarray(predictions), np.asarray(labels)
    if metric == "accuracy":
        interval = binomtest(int((found == right).sum()), len(right)).proportion_ci(method="wilson")
    elif len(right) < 2:
        return float("nan"), float("nan")
    else:
        with warnings.catch_warnings(), config_context(skip_parameter_validation=True):
            warnings.simplefilter("ignore")  # a degenerate model has the same score in each draw
            interval = bootstrap(
                (found, right),
                lambda drawn, answers: compute_metric(metric, drawn, answers, positive),
                n_resamples=_DRAWS,
                vectorized=False,
                paired=True,
                method="percentile",
                random_state=np.random.default_rng(0),  # `rng` in new releases of scipy,
            ).confidence_interval
    return float(interval.low), float(interval.high)
