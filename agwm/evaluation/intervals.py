"""Intervals of scores for another draw of as many examples."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, bootstrap
from sklearn import config_context
from torch import Tensor

from agwm.data.metrics import compute_metric
from agwm.data.tasks import Task
from agwm.errors import DataError
from agwm.evaluation.outputs import check_pair, predictions_of
from agwm.evaluation.scores import score

__all__ = ["score_interval"]

_DRAWS = 399
_ENDS = (2.5, 97.5)  # percentiles


def score_interval(
    metric: str,
    predictions: Tensor | np.ndarray,  # shape: (examples,), or with a task (examples, k)
    labels: Sequence[Any] | np.ndarray,
    positive: int = 1,
    *,
    task: Task | None = None,
) -> tuple[float, float]:
    """Return the 95 % interval of a score for another draw of as many examples.

    Args:
        metric: A key of ``agwm.data.metrics.METRICS``.
        predictions: Classes or scores; with ``task`` the outputs, as ``agwm.evaluation.scores.score`` takes
            them.
        labels: The right ones.
        positive: The class that f1 is of. With ``task`` its own is taken.
        task: The task; needed for metrics of probabilities and for several labels an example.

    Returns:
        Wilson's interval for accuracy; for other metrics percentiles of the bootstrap, over the draws for
        which the metric is defined. Not-a-number twice where there are fewer than two examples to draw
        from, or there is no such draw.

    Raises:
        ConfigError: If the metric is unknown, or does not fit.
        ShapeError: If predictions, or outputs, and labels do not fit each other or the task.
        DataError: If an output or label is wrong.

    Example:
        >>> import torch
        >>> low, high = score_interval("accuracy", torch.tensor([0, 1, 1, 1]), [0, 1, 1, 0])
        >>> round(low, 3), round(high, 3)
        (0.301, 0.954)
    """
    found, right = np.asarray(predictions), np.asarray(labels)
    if task is not None:
        found, right = check_pair(found, right, task)
    if metric == "accuracy":
        answers = found if task is None else predictions_of(found, task)
        hits = (answers == right).reshape(len(right), -1).all(axis=1)
        interval = binomtest(int(hits.sum()), len(right)).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)
    if len(right) < 2:
        return float("nan"), float("nan")

    def drawn_score(rows: np.ndarray) -> float:
        if task is None:
            return compute_metric(metric, found[rows], right[rows], positive)
        try:
            return score(metric, found[rows], right[rows], task)
        except DataError:  # such as roc_auc of a draw with one class
            return float("nan")

    with warnings.catch_warnings(), config_context(skip_parameter_validation=True):
        warnings.simplefilter("ignore")  # a degenerate model has the same score in each draw
        draws = bootstrap(
            (np.arange(len(right)),),
            drawn_score,
            n_resamples=_DRAWS,
            vectorized=False,
            method="percentile",
            random_state=np.random.default_rng(0),  # `rng` in new releases of scipy,
        ).bootstrap_distribution
        low, high = np.nanpercentile(draws, _ENDS)
    return float(low), float(high)
