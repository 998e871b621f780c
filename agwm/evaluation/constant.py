"""The best answer that is the same for all examples: the reference that a trained model has to beat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agwm.data.metrics import METRICS
from agwm.data.tasks import Task
from agwm.evaluation.outputs import Labels, class_columns, labels_array
from agwm.evaluation.scores import greater_is_better, score

__all__ = ["constant_outputs"]

_Array = np.ndarray


def constant_outputs(metric: str, labels: Labels, task: Task) -> _Array:  # shape: (k,)
    """Return the constant outputs that score best on labels: what to answer without looking at a text.

    For metrics of probabilities they are the shares of the classes, or of each label. For metrics of
    predictions they are one class for certain, or the n commonest labels, with the n that scores best;
    earlier classes and fewer labels win ties. In regression they are the median for ``mae``, else the mean.

    Args:
        metric: A key of ``agwm.data.metrics.METRICS`` that fits the task.
        labels: The right labels; see :func:`agwm.evaluation.outputs.labels_array`.
        task: The task.

    Returns:
        The outputs of one example.

    Raises:
        ConfigError: If the metric is unknown, or does not fit the task.
        ShapeError: If the labels do not fit the task.
        DataError: If a label is wrong.

    Example:
        >>> task = Task("mine", ("sentence1",), ("no", "yes"))
        >>> constant_outputs("log_loss", [0, 1, 1, 1], task)
        array([0.25, 0.75])
        >>> constant_outputs("accuracy", [0, 1, 1, 1], task)
        array([0., 1.])
    """
    right = labels_array(labels, task)
    if task.is_regression:
        return np.array([np.median(right) if metric == "mae" else np.mean(right)])
    shares = class_columns(right, task).mean(axis=0)
    if metric in METRICS and METRICS[metric].needs_probabilities:
        return shares
    sign = 1 if greater_is_better(metric) else -1
    candidates = list(_candidates(shares, task))
    scores = [sign * score(metric, np.tile(one, (len(right), 1)), right, task) for one in candidates]
    return candidates[int(np.argmax(scores))]


def _candidates(shares: _Array, task: Task) -> Iterator[_Array]:
    """Yield the answers to choose from."""
    if not task.multi_label:
        yield from np.eye(task.num_labels)
        return
    order = np.argsort(-shares, kind="stable")
    for count in range(task.num_labels + 1):
        answer = np.zeros(task.num_labels)
        answer[order[:count]] = 1.0
        yield answer
