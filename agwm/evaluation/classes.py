"""Scores by class: precision, recall and F1 of each, and how classes are confused."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn import metrics as sk

from agwm.data.tasks import Task
from agwm.errors import ConfigError
from agwm.evaluation.outputs import Labels, check_pair, class_columns, predictions_of

__all__ = ["ClassScore", "confusion", "per_class"]

_Array = np.ndarray


class ClassScore(NamedTuple):
    """Scores of one class.

    Attributes:
        name: Name of the class.
        precision: Part of the examples predicted to have the class that have it; 0.0 without any.
        recall: Part of the examples of the class that are predicted to have it; 0.0 without any.
        f1: Harmonic mean of both; 0.0 where both are 0.
        support: Number of examples of the class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


def per_class(outputs: _Array, labels: Labels, task: Task) -> list[ClassScore]:
    """Return name, precision, recall, F1 and number of examples of each class, or label, in index order.

    Args:
        outputs: Shape (examples, k).
        labels: The right labels; see :func:`labels_array`.
        task: The task.

    Raises:
        ConfigError: If the task is a regression.
        ShapeError: If outputs or labels do not fit the task, or each other.
        DataError: If an output or label is wrong.
    """
    _check_classes(task)
    outputs, right = check_pair(outputs, labels, task)
    right, found = class_columns(right, task), class_columns(predictions_of(outputs, task), task)
    scores = []
    for name, truth, answer in zip(task.label_names or (), right.T, found.T, strict=True):
        precision, recall, f1, _ = sk.precision_recall_fscore_support(
            truth, answer, average="binary", zero_division=0.0
        )
        scores.append(ClassScore(name, float(precision), float(recall), float(f1), int(truth.sum())))
    return scores


def confusion(outputs: _Array, labels: Labels, task: Task) -> _Array:
    """Count examples by right class (rows) and predicted class (columns).

    Args:
        outputs: Shape (examples, k).
        labels: The right labels; see :func:`labels_array`.
        task: The task.

    Returns:
        int64 of shape (k, k). With several labels an example (k, 2, 2): for each label those that do not
        have it (0) and have it (1), by "not predicted" (0) and "predicted" (1).

    Raises:
        ConfigError: If the task is a regression.
        ShapeError: If outputs or labels do not fit the task, or each other.
        DataError: If an output or label is wrong.
    """
    _check_classes(task)
    outputs, right = check_pair(outputs, labels, task)
    found = predictions_of(outputs, task)
    if not task.multi_label:
        return sk.confusion_matrix(right, found, labels=np.arange(task.num_labels))
    pairs = zip(right.T, found.T, strict=True)
    return np.stack([sk.confusion_matrix(one, other, labels=[0, 1]) for one, other in pairs])


def _check_classes(task: Task) -> None:
    """Raise if a task has no classes.

    Raises:
        ConfigError: If so.
    """
    if task.is_regression:
        raise ConfigError(
            f"Task {task.name!r} has no classes: expected a classification, got a regression. Use score."
        )
