"""Outputs of a model as NumPy arrays: probabilities or scores, what they predict, and the right labels.

Outputs are float64 arrays of shape (examples, k): probabilities of the classes, which sum to 1; with
several labels an example the probability of each label by itself; in regression the one score, k = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy.special import expit, softmax
from torch import Tensor

from agwm.data.tasks import Task
from agwm.errors import DataError, ShapeError, shown

__all__ = [
    "Labels",
    "check_outputs",
    "check_pair",
    "class_columns",
    "labels_array",
    "outputs_of",
    "predictions_of",
]

_LIKELY = 0.5  # a label is predicted above this probability
_ROUNDED = 1e-2  # sums of probabilities may be that far from 1, because files have rounded numbers
_Array = np.ndarray
Labels: TypeAlias = Sequence[Any] | _Array | Tensor


def outputs_of(logits: Tensor, task: Task) -> _Array:  # shape: (examples, k)
    """Turn a model's logits into probabilities, or scores, in float64.

    Args:
        logits: Shape (examples, ``task.num_labels``), or (examples,) in regression.
        task: The task that they are for.

    Returns:
        The outputs: softmax over classes, the logistic function of each label, or the scores as they are.

    Raises:
        ShapeError: If the shape does not fit the task.
        DataError: If a logit is NaN or infinite.

    Example:
        >>> import torch
        >>> task = Task("mine", ("sentence1",), ("no", "yes"))
        >>> outputs_of(torch.tensor([[0.0, 0.0]]), task)
        array([[0.5, 0.5]])
    """
    array = logits.detach().cpu().double().numpy()
    array = array[:, None] if task.is_regression and array.ndim == 1 else array
    array = _finite(array, task, "Logits")
    if task.is_regression:
        return array
    return expit(array) if task.multi_label else softmax(array, axis=1)


def predictions_of(outputs: _Array, task: Task) -> _Array:
    """Turn outputs into predictions.

    Args:
        outputs: Shape (examples, k).
        task: The task that they are for.

    Returns:
        Indices of the likeliest classes, int64 of shape (examples,). With several labels an example: int64
        of shape (examples, labels), 1 for the labels of a probability above 0.5. In regression: the
        scores, of shape (examples,).

    Raises:
        ShapeError: If the shape does not fit the task.
        DataError: If an output is NaN or infinite.
    """
    outputs = check_outputs(outputs, task)
    if task.is_regression:
        return outputs[:, 0]
    return (outputs > _LIKELY).astype(np.int64) if task.multi_label else outputs.argmax(axis=1)


def check_outputs(outputs: _Array, task: Task) -> _Array:
    """Return outputs as float64, or raise unless they are such as :func:`outputs_of` gives.

    Args:
        outputs: Shape (examples, k).
        task: The task that they are for.

    Raises:
        ShapeError: If the shape does not fit the task, or there is no example.
        DataError: If an output is NaN or infinite, or no probability.
    """
    array = _finite(np.asarray(outputs, dtype=np.float64), task, "Outputs")
    if task.is_regression:
        return array
    outside = ((array < 0) | (array > 1)).any(axis=1)
    if not task.multi_label:
        outside |= np.abs(array.sum(axis=1) - 1) > _ROUNDED
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        total = "" if task.multi_label else " that sum to 1"
        raise DataError(
            f"Outputs of example {first + 1} are no probabilities: expected numbers from 0 to 1{total}, got"
            f" {shown([round(float(value), 4) for value in array[first]], 80)}. Use outputs_of for logits."
        )
    return array


def labels_array(labels: Labels, task: Task) -> _Array:
    """Return the right labels as an array.

    Args:
        labels: A class index or a score for each example; with several labels a row of 0 and 1 for each.
        task: The task that they are for.

    Returns:
        int64 of shape (examples,) or (examples, labels); in regression float64 of shape (examples,).

    Raises:
        ShapeError: If the shape does not fit the task, or there is no example.
        DataError: If a label is no class of the task, or no finite number.
    """
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    wanted = "(examples,)" if not task.multi_label else f"(examples, {task.num_labels})"
    fits = array.ndim == 1 if not task.multi_label else array.shape[1:] == (task.num_labels,)
    if not fits or not len(array):
        raise ShapeError(
            f"Labels do not fit task {task.name!r}: expected shape {wanted} with one or more examples, got"
            f" {array.shape}. Give the labels of the task's own examples."
        )
    highest = 1 if task.multi_label else task.num_labels - 1
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError):
        numbers = np.full(array.shape, np.nan)
    if task.is_regression:
        bad, wanted = ~np.isfinite(numbers), "a finite score"
    else:
        bad, wanted = ~np.isin(numbers, np.arange(highest + 1)), f"a whole number from 0 to {highest}"
    if bad.any():
        first = tuple(int(index) for index in np.argwhere(bad)[0])
        raise DataError(
            f"Wrong label of example {first[0] + 1} in task {task.name!r}: expected {wanted}, got"
            f" {shown(array[first].item(), 80)}. Correct the labels."
        )
    return numbers if task.is_regression else numbers.astype(np.int64)


def check_pair(outputs: _Array, labels: Labels, task: Task) -> tuple[_Array, _Array]:
    """Return outputs and labels as arrays, by :func:`check_outputs` and :func:`labels_array`.

    Args:
        outputs: Shape (examples, k).
        labels: The right labels.
        task: The task that they are for.

    Raises:
        ShapeError: If they do not fit the task, or each other.
        DataError: If an output or label is wrong.
    """
    outputs, right = check_outputs(outputs, task), labels_array(labels, task)
    if len(outputs) != len(right):
        raise ShapeError(
            f"Outputs and labels differ in length: expected {len(right)} outputs, got {len(outputs)}."
        )
    return outputs, right


def class_columns(labels: _Array, task: Task) -> _Array:
    """Return zeros and ones of shape (examples, k): the classes that each example has.

    Args:
        labels: As :func:`labels_array` or :func:`predictions_of` gives them.
        task: A classification.
    """
    return labels if task.multi_label else np.eye(task.num_labels, dtype=np.int64)[labels]


def _finite(array: _Array, task: Task, name: str) -> _Array:
    """Return an array, or raise unless it has a row for each example and finite numbers.

    Raises:
        ShapeError: If the shape does not fit the task, or there is no example.
        DataError: If a number is NaN or infinite.
    """
    if array.shape[1:] != (task.num_labels,) or not len(array):
        raise ShapeError(
            f"{name} do not fit task {task.name!r}: expected shape (examples, {task.num_labels}) with one"
            f" or more examples, got {array.shape}. Load the model with num_labels={task.num_labels}."
        )
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise DataError(
            f"{name} are not finite: expected finite numbers for {len(bad)} examples, got NaN or infinity"
            f" for {int(bad.sum())}. Lower the learning rate if training diverged."
        )
    return array
