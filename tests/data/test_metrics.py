"""Metrics: values from the definitions, degenerate inputs and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agwm.data.metrics import METRICS, PROBLEM_TYPES, compute_metric
from agwm.errors import ConfigError, DataError, ShapeError

PREDICTED, TRUE = [1, 1, 0, 0, 1, 0, 1, 1], [1, 0, 0, 1, 1, 0, 1, 0]
TP, FP, FN, TN = 3, 2, 1, 2
FROM_PREDICTIONS = [name for name, metric in METRICS.items() if not metric.needs_probabilities]


def test_class_metrics_against_their_definitions() -> None:
    assert compute_metric("accuracy", PREDICTED, TRUE) == (TP + TN) / 8
    assert compute_metric("f1", PREDICTED, TRUE) == pytest.approx(2 * TP / (2 * TP + FP + FN))
    product = (TP + FP) * (TP + FN) * (TN + FP) * (TN + FN)
    expected = (TP * TN - FP * FN) / product**0.5
    assert compute_metric("matthews", PREDICTED, TRUE) == pytest.approx(expected)


def test_metrics_of_all_classes_against_their_definitions() -> None:
    first, second = 2 * TN / (2 * TN + FP + FN), 2 * TP / (2 * TP + FP + FN)
    assert compute_metric("macro_f1", PREDICTED, TRUE) == pytest.approx((first + second) / 2)
    assert compute_metric("micro_f1", PREDICTED, TRUE) == pytest.approx((TP + TN) / 8)
    recalls = TP / (TP + FN), TN / (TN + FP)
    assert compute_metric("balanced_accuracy", PREDICTED, TRUE) == pytest.approx(sum(recalls) / 2)
    assert compute_metric("mae", [1.0, 2.5, 4.0], [1.5, 2.5, 2.0]) == pytest.approx(2.5 / 3)


def test_a_class_that_the_labels_lack() -> None:
    # class 2 is predicted once: it has no recall, and an F1 of 0
    assert compute_metric("balanced_accuracy", [0, 0, 1, 2], [0, 0, 1, 1]) == 0.75
    assert compute_metric("macro_f1", [0, 0, 1, 2], [0, 0, 1, 1]) == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert compute_metric("balanced_accuracy", [0, 1], [0, 0]) == 0.5


def test_every_metric_says_what_it_needs() -> None:
    assert {name for name, metric in METRICS.items() if metric.needs_probabilities} == {
        "roc_auc",
        "log_loss",
    }
    assert {name for name, metric in METRICS.items() if not metric.greater_is_better} == {"log_loss", "mae"}
    for name, metric in METRICS.items():
        assert metric.name == name and metric.problem_types
        assert set(metric.problem_types) <= set(PROBLEM_TYPES)


def test_probabilities_are_no_predictions() -> None:
    with pytest.raises(
        ConfigError, match=r"'roc_auc' needs probabilities: expected one of accuracy, .* mae"
    ):
        compute_metric("roc_auc", [0, 1], [0, 1])


def test_correlations_against_their_definitions() -> None:
    x, y = np.array([0.1, 2.0, 3.5, 1.0, 4.0]), np.array([1.0, 2.5, 2.0, 0.0, 5.0])
    assert compute_metric("pearson", x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    ranks = [values.argsort().argsort() for values in (x, y)]
    assert compute_metric("spearman", x, y) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert compute_metric("spearman", x, -x) == pytest.approx(-1.0)


@pytest.mark.parametrize("name", ["matthews", "spearman", "pearson"])
@pytest.mark.parametrize(("first", "second"), [([1, 1, 1], [0, 1, 1]), ([0, 1, 1], [1, 1, 1])])
def test_undefined_is_zero_without_warning(name: str, first: list, second: list) -> None:
    assert compute_metric(name, first, second) == 0.0


def test_nearly_constant_predictions_do_not_warn() -> None:
    predictions = np.array([1.0, 1.0 + 2**-52, 1.0])
    assert -1.0 <= compute_metric("pearson", predictions, [1.0, 2.0, 3.0]) <= 1.0


def test_f1_without_positives_is_zero() -> None:
    assert compute_metric("f1", [0, 0], [0, 0]) == 0.0


def test_f1_of_either_class() -> None:
    assert compute_metric("f1", PREDICTED, TRUE, 0) == pytest.approx(2 * TN / (2 * TN + FP + FN))
    assert compute_metric("f1", PREDICTED, TRUE, 1) == compute_metric("f1", PREDICTED, TRUE)
    with pytest.raises(ConfigError, match="expected index 0 or 1, got 2"):
        compute_metric("f1", PREDICTED, TRUE, 2)


def test_f1_refuses_a_third_class() -> None:
    with pytest.raises(DataError, match=r"f1 is for two classes.*got \[2\]"):
        compute_metric("f1", [0, 2], [0, 1])


@pytest.mark.parametrize("name", FROM_PREDICTIONS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_predictions_must_be_finite(name: str, bad: float) -> None:
    with pytest.raises(DataError, match=r"Predictions are not finite.*first: number 2"):
        compute_metric(name, [0.0, bad, 1.0], [0, 1, 1])
    with pytest.raises(DataError, match="Labels are not finite"):
        compute_metric(name, [0, 1, 1], [0.0, bad, 1.0])


def test_wrong_input() -> None:
    with pytest.raises(ConfigError, match=r"Unknown metric 'acuracy'.*Did you mean 'accuracy'"):
        compute_metric("acuracy", [0], [0])
    with pytest.raises(ShapeError, match="expected 3 predictions, got 2"):
        compute_metric("accuracy", [0, 1], [0, 1, 1])
    with pytest.raises(ShapeError, match="one number per example"):
        compute_metric("accuracy", [], [])
    with pytest.raises(ShapeError, match=r"got \(1, 2\)"):
        compute_metric("accuracy", [[0, 1]], [0, 1])
    with pytest.raises(DataError, match="not numbers"):
        compute_metric("accuracy", ["a"], [0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_are_taken(dtype: torch.dtype) -> None:
    score = torch.tensor([0.0, 1.0, 2.0], dtype=dtype, requires_grad=True)
    assert compute_metric("spearman", score, torch.tensor([1, 2, 3])) == pytest.approx(1.0)
