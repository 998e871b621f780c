"""Score predictions. Scores are plain fractions (0.5, not 50)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import stats
from sklearn import metrics as sk
from torch import Tensor

from agwm.errors import ConfigError, DataError, ShapeError, close_names

__all__ = ["METRICS", "REGRESSION_METRICS", "compute_metric"]

_Array = np.ndarray


def _accuracy(predictions: _Array, labels: _Array) -> float:
    return float(sk.accuracy_score(labels, predictions))


def _f1(predictions: _Array, labels: _Array, positive: int = 1) -> float:
    found = sorted({*predictions.tolist(), *labels.tolist()} - {0, 1})
    if found:
        raise DataError(
            f"f1 is for two classes: expected predictions and labels of 0 and 1, got {found[:5]}. "
            "Use accuracy for more classes."
        )
    return float(sk.f1_score(labels, predictions, pos_label=positive, zero_division=0.0))


def _is_constant(values: _Array) -> bool:
    return bool(np.all(values == values[0]))


def _matthews(predictions: _Array, labels: _Array) -> float:
    if _is_constant(predictions) or _is_constant(labels):
        return 0.0
    return float(sk.matthews_corrcoef(labels, predictions))


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


METRICS: dict[str, Callable[[_Array, _Array], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews": _matthews,
    "spearman": _correlation(stats.spearmanr),
    "pearson": _correlation(stats.pearsonr),
}
REGRESSION_METRICS = frozenset({"spearman", "pearson"})


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
    """Score predictions.

    ``accuracy`` and ``f1`` (of one class) are in [0, 1]; ``matthews``, ``spearman`` and
    ``pearson`` in [-1, 1]. A correlation is undefined if all predictions or all labels are equal.
    It is 0.0 then, because a constant answer tells nothing. F1 without any true positive is 0.0.

    Args:
        name: A key of ``METRICS``.
        predictions: One number per example: class index, or score for regression.
        labels: One number per example: the true class index or score.
        positive: The class, 0 or 1, that f1 is of. It changes no other metric.

    Returns:
        The score as a fraction.

    Raises:
        ConfigError: If the metric is unknown, or ``positive`` is not 0 or 1.
        ShapeError: If the two are empty, not one-dimensional or of different length.
        DataError: If a number is NaN or infinite, or f1 meets a class other than 0 and 1.

    Example:
        >>> compute_metric("accuracy", [0, 1, 1, 0], [0, 1, 0, 0])
        0.75
    """
    if name not in METRICS:
        raise ConfigError(
            f"Unknown metric {name!r}: expected one of {', '.join(METRICS)}.{close_names(name, METRICS)}"
        )
    found, truth = _vector("Predictions", predictions), _vector("Labels", labels)
    if len(found) != len(truth):
        raise ShapeError(
            f"Predictions and labels differ in length: expected {len(truth)} predictions, got {len(found)}."
        )
    if positive not in (0, 1):
        raise ConfigError(f"Wrong positive class: expected index 0 or 1, got {positive!r}.")
    return _f1(found, truth, positive) if name == "f1" else METRICS[name](found, truth)
