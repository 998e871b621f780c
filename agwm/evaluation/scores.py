"""Scores of a model's outputs by every metric, one by one or all that fit."""

from __future__ import annotations

import numpy as np
from sklearn import metrics as sk

from agwm.data.metrics import METRICS, check_metric, compute_metric
from agwm.data.tasks import Task
from agwm.errors import ConfigError, DataError, close_names
from agwm.evaluation.classes import ClassScore, confusion, per_class
from agwm.evaluation.outputs import (
    Labels,
    check_pair,
    class_columns,
    labels_array,
    outputs_of,
    predictions_of,
)

__all__ = [
    "ClassScore",
    "all_scores",
    "confusion",
    "greater_is_better",
    "labels_array",
    "left_out",
    "outputs_of",
    "per_class",
    "predictions_of",
    "score",
]

_Array = np.ndarray


def greater_is_better(metric: str) -> bool:
    """Return False for losses and errors, True for other metrics.

    Raises:
        ConfigError: If there is no such metric.
    """
    return check_metric(metric).greater_is_better


def score(metric: str, outputs: _Array, labels: Labels, task: Task) -> float:
    r"""Score outputs.

    Metrics of predictions are those of :func:`agwm.data.metrics.compute_metric`. With several labels an
    example ``accuracy`` is the part of the examples whose labels are all right, ``micro_f1`` counts all
    labels alike, and ``macro_f1`` is the mean over the labels that an example has or is predicted to have.

    ``roc_auc`` of two classes is the probability that an example of the second has the larger output; of
    more classes or labels the mean over them, each against the rest. Those that no example has, or that
    all have, are left out (:func:`left_out`). ``log_loss`` is

    .. math:: -\frac1N \sum_n \log p_n(y_n)

    in nats, and with several labels the mean over labels of that of "has it, or not". Probabilities of 0
    and 1 are moved by 2.2e-16, so that it is finite.

    Args:
        metric: A key of ``agwm.data.metrics.METRICS`` that fits the task.
        outputs: Shape (examples, k).
        labels: The right labels; see :func:`labels_array`.
        task: The task. Its ``positive_index`` is the class that f1 is of.

    Returns:
        The score, as a fraction.

    Raises:
        ConfigError: If the metric is unknown, or does not fit the task.
        ShapeError: If outputs or labels do not fit the task, or each other.
        DataError: If an output or label is wrong, or ``roc_auc`` is undefined: no class has both examples
            that have it and examples that do not.

    Example:
        >>> task = Task("mine", ("sentence1",), ("no", "yes"))
        >>> round(score("log_loss", np.array([[0.5, 0.5], [0.25, 0.75]]), [0, 1], task), 4)
        0.4904
    """
    _check_fits(metric, task)
    outputs, right = check_pair(outputs, labels, task)
    if reason := _undefined(metric, right, task):
        raise DataError(reason)
    function = METRICS[metric].from_predictions
    if metric == "roc_auc":
        return _roc_auc(outputs, right, task)
    if function is None:
        return _log_loss(outputs, right, task)
    found = predictions_of(outputs, task)
    if task.multi_label:
        return function(found, right)
    return compute_metric(metric, found, right, task.positive_index)


def all_scores(outputs: _Array, labels: Labels, task: Task) -> dict[str, float]:
    """Return the scores of all metrics that fit the task and are defined for the labels, by name.

    Args:
        outputs: Shape (examples, k).
        labels: The right labels; see :func:`labels_array`.
        task: The task.

    Raises:
        ShapeError: If outputs or labels do not fit the task, or each other.
        DataError: If an output or label is wrong.
    """
    outputs, right = check_pair(outputs, labels, task)
    fitting = [name for name in METRICS if _fits(name, task) and not _undefined(name, right, task)]
    return {name: score(name, outputs, right, task) for name in fitting}


def left_out(labels: Labels, task: Task) -> list[str]:
    """Return the classes, or labels, that ``roc_auc`` leaves out: no example has them, or all have them.

    Args:
        labels: The right labels; see :func:`labels_array`.
        task: The task.

    Raises:
        ShapeError: If the labels do not fit the task.
        DataError: If a label is wrong.
    """
    kept = _kept(labels_array(labels, task), task)
    return [name for index, name in enumerate(task.label_names or ()) if index not in kept]


def _check_fits(metric: str, task: Task) -> None:
    """Raise unless a metric fits a task.

    Raises:
        ConfigError: If it is unknown, or does not fit.
    """
    check_metric(metric)
    if not _fits(metric, task):
        fitting = [name for name in METRICS if _fits(name, task)]
        raise ConfigError(
            f"Metric {metric!r} does not fit task {task.name!r}: expected one of {', '.join(fitting)}."
            f"{close_names(metric, fitting)}"
        )


def _fits(metric: str, task: Task) -> bool:
    is_two = metric != "f1" or task.num_labels == 2
    return is_two and task.problem_type in METRICS[metric].problem_types


def _kept(right: _Array, task: Task) -> list[int]:
    """Return the classes that some examples have, and others do not."""
    if task.is_regression:
        return []
    counts = class_columns(right, task).sum(axis=0)
    return [int(index) for index in np.flatnonzero((counts > 0) & (counts < len(right)))]


def _undefined(metric: str, right: _Array, task: Task) -> str | None:
    """Return why a metric is undefined for the labels, in one line; None: it is defined."""
    if metric != "roc_auc" or _kept(right, task):
        return None
    return (
        f"roc_auc of task {task.name!r} is undefined: expected a class that some of {len(right)} examples"
        " have and others do not, got none. Use more examples, or another metric."
    )


def _roc_auc(outputs: _Array, right: _Array, task: Task) -> float:
    kept = _kept(right, task)
    if task.num_labels == 2 and not task.multi_label:
        kept = [1]  # the first class's is the same, but for rounding
    columns = class_columns(right, task)
    return float(np.mean([sk.roc_auc_score(columns[:, index], outputs[:, index]) for index in kept]))


def _log_loss(outputs: _Array, right: _Array, task: Task) -> float:
    if task.multi_label:
        return float(sk.log_loss(right.ravel(), outputs.ravel(), labels=[0, 1]))
    sums = outputs.sum(axis=1, keepdims=True)
    return float(sk.log_loss(right, outputs / sums, labels=np.arange(task.num_labels)))
