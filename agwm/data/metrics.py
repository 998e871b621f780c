"""Metrics: the facts on each, and the scores of predictions. Scores are plain fractions (0.5, not 50)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from sklearn import metrics as sk
from torch import Tensor

from agwm.errors import ConfigError, DataError, ShapeError, close_names

__all__ = ["METRICS", "PROBLEM_TYPES", "Metric", "check_metric", "compute_metric"]

_Array = np.ndarray
_SINGLE, _MULTI, _REGRESSION = "single_label_classification", "multi_label_classification", "regression"
PROBLEM_TYPES: tuple[str, ...] = (_SINGLE, _MULTI, _REGRESSION)
"""The kinds of tasks, by the names that ``config.problem_type`` of transformers has."""


@dataclass(frozen=True)
class Metric:
    """Facts on a metric.

    Attributes:
        name: Its name in options, records and tables.
        problem_types: The members of ``PROBLEM_TYPES`` that it fits.
        from_predictions: Score of predictions and labels: classes of shape (examples,), zeros and ones of
            shape (examples, labels), or scores. None: it needs probabilities (``agwm.evaluation.scores``).
        greater_is_better: False for losses and errors.
    """

    name: str
    problem_types: tuple[str, ...]
    from_predictions: Callable[[_Array, _Array], float] | None = None
    greater_is_better: bool = True

    @property
    def needs_probabilities(self) -> bool:
        """True if predictions alone do not tell the score."""
        return self.from_predictions is None


def _accuracy(predictions: _Array, labels: _Array) -> float:
    return float(sk.accuracy_score(labels, predictions))


def _balanced_accuracy(predictions: _Array, labels: _Array) -> float:
    return float(sk.recall_score(labels, predictions, labels=np.unique(labels), average="macro"))


def _f1(predictions: _Array, labels: _Array, positive: int = 1) -> float:
    found = sorted({*predictions.tolist(), *labels.tolist()} - {0, 1})
    if found:
        raise DataError(
            f"f1 is for two classes: expected predictions and labels of 0 and 1, got {found[:5]}. "
            "Use macro_f1 or accuracy for more classes."
        )
    return float(sk.f1_score(labels, predictions, pos_label=positive, zero_division=0.0))


def _macro_f1(predictions: _Array, labels: _Array) -> float:
    if labels.ndim == 1:
        return float(sk.f1_score(labels, predictions, average="macro", zero_division=0.0))
    present = np.flatnonzero(labels.any(axis=0) | predictions.any(axis=0))
    # Label by label, because scikit-learn takes a matrix of one column for classes.
    found = [sk.f1_score(labels[:, index], predictions[:, index], zero_division=0.0) for index in present]
    return float(np.mean(found)) if found else 0.0


def _micro_f1(predictions: _Array, labels: _Array) -> float:
    if labels.ndim == 1:
        return float(sk.f1_score(labels, predictions, average="micro", zero_division=0.0))
    return float(sk.f1_score(labels.ravel(), predictions.ravel(), zero_division=0.0))


def _is_constant(values: _Array) -> bool:
    return bool(np.all(values == values[0]))


def _matthews(predictions: _Array, labels: _Array) -> float:
    if _is_constant(predictions) or _is_constant(labels):
        return 0.0
    return float(sk.matthews_corrcoef(labels, predictions))


def _mean_absolute_error(predictions: _Array, labels: _Array) -> float:
    return float(sk.mean_absolute_error(labels, predictions))


def _correlation(function: Callable[..., Sequence[float]]) -> Callable[[_Array, _Array], float]:
    def score(predictions: _Array, labels: _Array) -> float:
        if _is_constant(predictions) or _is_constant(labels):
            return 0.0
        with warnings.catch_warnings():
            # scipy warns about nearly constant values. The user needs no warning here.
            warnings.simplefilter("ignore")
            value = float(function(predictions, labels)[0])
        return value if np.isfinite(value) else 0.0

    return score


_CLASSES = (_SINGLE, _MULTI)
_ALL = (
    Metric("accuracy", _CLASSES, _accuracy),
    Metric("balanced_accuracy", (_SINGLE,), _balanced_accuracy),
    Metric("f1", (_SINGLE,), _f1),
    Metric("macro_f1", _CLASSES, _macro_f1),
    Metric("micro_f1", _CLASSES, _micro_f1),
    Metric("matthews", (_SINGLE,), _matthews),
    Metric("roc_auc", _CLASSES),
    Metric("log_loss", _CLASSES, greater_is_better=False),
    Metric("spearman", (_REGRESSION,), _correlation(stats.spearmanr)),
    Metric("pearson", (_REGRESSION,), _correlation(stats.pearsonr)),
    Metric("mae", (_REGRESSION,), _mean_absolute_error, greater_is_better=False),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric by name."""


def check_metric(name: str) -> Metric:
    """Return the metric of a name.

    Raises:
        ConfigError: If there is no such metric; the message shows close names.
    """
    if name not in METRICS:
        raise ConfigError(
            f"Unknown metric {name!r}: expected one of {', '.join(METRICS)}.{close_names(name, METRICS)}"
        )
    return METRICS[name]


def _vector(name: str, values: Sequence[float] | _Array | Tensor) -> _Array:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
        array = values.numpy()
    else:
        array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ShapeError(
            f"{name} have the wrong shape: expected one number per example, got {array.shape}."
        )
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise DataError(f"{name} are not numbers: expected ints or floats, got {array.dtype}.")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise DataError(
            f"{name} are not finite: expected {array.size} finite numbers, got {bad.size} NaN or "
            f"infinite (first: number {int(bad[0]) + 1}). Lower the learning rate if training "
            "diverged."
        )
    return array


def compute_metric(
    name: str,
    predictions: Sequence[float] | _Array | Tensor,
    labels: Sequence[float] | _Array | Tensor,
    positive: int = 1,
) -> float:
    """Score predictions of a task with one label an example.

    ``accuracy``, ``balanced_accuracy`` (mean recall of the classes that the labels have), ``f1`` (of one
    class), ``macro_f1`` (mean over the classes that are in labels or predictions) and ``micro_f1`` are in
    [0, 1]; ``matthews``, ``spearman`` and ``pearson`` in [-1, 1]; ``mae`` is in the labels' unit. A
    correlation is undefined if all predictions or all labels are equal. It is 0.0 then, because a constant
    answer tells nothing. F1 without any true positive is 0.0.

    Args:
        name: A key of ``METRICS``.
        predictions: One number per example: class index, or score for regression.
        labels: One number per example: the true class index or score.
        positive: The class, 0 or 1, that f1 is of. It changes no other metric.

    Returns:
        The score as a fraction.

    Raises:
        ConfigError: If the metric is unknown or needs probabilities, or ``positive`` is not 0 or 1.
        ShapeError: If the two are empty, not one-dimensional or of different length.
        DataError: If a number is NaN or infinite, or f1 meets a class other than 0 and 1.

    Example:
        >>> compute_metric("accuracy", [0, 1, 1, 0], [0, 1, 0, 0])
        0.75
    """
    function = check_metric(name).from_predictions
    if function is None:
        fitting = ", ".join(key for key, metric in METRICS.items() if not metric.needs_probabilities)
        raise ConfigError(
            f"Metric {name!r} needs probabilities: expected one of {fitting} for predictions alone."
            " Use agwm.evaluation.scores.score."
        )
    found, truth = _vector("Predictions", predictions), _vector("Labels", labels)
    if len(found) != len(truth):
        raise ShapeError(
            f"Predictions and labels differ in length: expected {len(truth)} predictions, got {len(found)}."
        )
    if positive not in (0, 1):
        raise ConfigError(f"Wrong positive class: expected index 0 or 1, got {positive!r}.")
    return _f1(found, truth, positive) if name == "f1" else function(found, truth)
