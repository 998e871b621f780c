"""Fit a linear head on fixed features with scikit-learn, its strength chosen by cross-validation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import StratifiedKFold

__all__ = ["LinearHead", "fit_classes", "fit_label_set", "fit_scores"]

# Inverse strengths of the penalty on a head whose features have mean 0 and standard deviation 1.
_STRENGTHS = np.logspace(-5, 1, 13)
_PENALTIES = np.logspace(0, 5, 21)
_FOLDS = 5
_FOLD_SEED = 0


@dataclass(frozen=True)
class LinearHead:
    """A linear map from features to logits, or to one score.

    Attributes:
        weight: Shape (outputs, features), float64.
        bias: Shape (outputs,), float64.
        strength: The chosen C of logistic regression, or alpha of ridge regression; for a label set the
            median of its labels; 0 where the labels are all the same.
    """

    weight: np.ndarray
    bias: np.ndarray
    strength: float


def fit_classes(
    features: np.ndarray, labels: np.ndarray, num_classes: int, weights: np.ndarray | None = None
) -> LinearHead:
    """Fit a softmax regression.

    C is the best of 13 by the log loss in stratified 5-fold cross-validation. Classes with one example
    take no part in the choice. A class without any gets the bias of half an example.

    Args:
        features: Shape (examples, features).
        labels: Classes, shape (examples,).
        num_classes: Number of classes, those without an example included.
        weights: Weight of each class in the loss; None: 1.
    """
    mean, scale = _moments(features)
    inputs = (features - mean) / scale
    present, counts = np.unique(labels, return_counts=True)
    weight, bias = np.zeros((num_classes, features.shape[1])), np.full(num_classes, np.nan)
    strength = 0.0
    if len(present) == 1:
        bias[present] = np.log(len(labels) + 0.5)
    else:
        by_class = None if weights is None else {int(k): float(weights[k]) for k in present}
        kept = np.isin(labels, present[counts > 1])
        strength = _best_strength(inputs[kept], labels[kept], by_class)
        found = _logistic(strength, by_class).fit(inputs, labels)
        coefficients, intercept = found.coef_, found.intercept_
        if len(present) == 2:  # one row: the difference of two logits
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercept = np.concatenate([-intercept, intercept]) / 2
        weight[present], bias[present] = coefficients, intercept
    absent = np.isnan(bias)
    bias[absent] = logsumexp(bias[~absent]) - np.log(2 * len(labels) + 1)
    return _unscaled(weight, bias, mean, scale, strength)


def fit_label_set(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> LinearHead:
    """Fit one logistic regression for each label of a set, one against the rest.

    Args:
        features: Shape (examples, features).
        labels: 0 or 1, shape (examples, labels).
        weights: Weight of each label's positive examples; None: 1.
    """
    rows = []
    for place, column in enumerate(labels.astype(int).T):
        own = None if weights is None else np.array([1.0, weights[place]])
        rows.append(fit_classes(features, column, 2, own))
    return LinearHead(
        np.stack([row.weight[1] - row.weight[0] for row in rows]),
        np.array([row.bias[1] - row.bias[0] for row in rows]),
        float(np.median([row.strength for row in rows])),
    )


def fit_scores(features: np.ndarray, scores: np.ndarray) -> LinearHead:
    """Fit a ridge regression; its penalty is the best of 21 by leave-one-out errors.

    Args:
        features: Shape (examples, features).
        scores: Shape (examples,).
    """
    mean, scale = _moments(features)
    found = RidgeCV(alphas=_PENALTIES).fit((features - mean) / scale, scores)
    return _unscaled(
        found.coef_.reshape(1, -1), np.atleast_1d(found.intercept_), mean, scale, float(found.alpha_)
    )


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each feature; 1 for one that does not vary."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    return mean, np.where(scale > 1e-9 * np.maximum(1.0, np.abs(mean)), scale, 1.0)


def _unscaled(
    weight: np.ndarray, bias: np.ndarray, mean: np.ndarray, scale: np.ndarray, strength: float
) -> LinearHead:
    """Return the head for features as they are, from one for standardized features."""
    own = weight / scale
    return LinearHead(own, bias - own @ mean, strength)


def _logistic(strength: float, by_class: dict[int, float] | None) -> LogisticRegression:
    return LogisticRegression(C=strength, class_weight=by_class, max_iter=500, warm_start=True)


def _best_strength(inputs: np.ndarray, labels: np.ndarray, by_class: dict[int, float] | None) -> float:
    """Return the C with the smallest log loss over held-out folds; each starts where the last ended."""
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        return 1e-2
    own = {k: v for k, v in by_class.items() if k in classes} if by_class is not None else None
    weights = np.array([1.0 if own is None else own[int(k)] for k in labels])
    places = np.searchsorted(classes, labels)
    splitter = StratifiedKFold(min(_FOLDS, int(counts.min())), shuffle=True, random_state=_FOLD_SEED)
    losses = np.zeros(len(_STRENGTHS))
    for train, test in splitter.split(inputs, labels):
        model = _logistic(_STRENGTHS[0], own)
        for number, strength in enumerate(_STRENGTHS):
            model.set_params(C=strength)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # a weak penalty on separable classes
                model.fit(inputs[train], labels[train])
            logs = model.predict_log_proba(inputs[test])[np.arange(len(test)), places[test]]
            losses[number] -= float(weights[test] @ logs)
    return float(_STRENGTHS[losses.argmin()])
