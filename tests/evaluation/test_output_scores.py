"""Scores of outputs: each metric against its definition, degenerate cases, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agwm.data.metrics import METRICS
from agwm.data.tasks import TASKS, Task
from agwm.errors import ConfigError, DataError, ShapeError
from agwm.evaluation.constant import constant_outputs
from agwm.evaluation.predictions import constant_score, predictions_from_logits
from agwm.evaluation.scores import (
    all_scores,
    confusion,
    greater_is_better,
    labels_array,
    left_out,
    outputs_of,
    per_class,
    predictions_of,
    score,
)

TWO = Task("two", ("sentence1",), ("no", "yes"))
THREE = Task("three", ("sentence1",), ("a", "b", "c"))
MANY = Task("many", ("sentence1",), ("x", "y", "z"), "micro_f1", multi_label=True)
NUMBER = TASKS["stsb"]


def random_case(task: Task, number: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs that know something, and labels."""
    draw = np.random.default_rng(3)
    shape = (number, task.num_labels) if task.multi_label else number
    if task.is_regression:
        labels = draw.normal(size=number)
        return (labels + draw.normal(size=number))[:, None], labels
    labels = draw.integers(0, 2 if task.multi_label else task.num_labels, shape)
    columns = labels if task.multi_label else np.eye(task.num_labels)[labels]
    logits = torch.from_numpy(draw.normal(2 * columns - 1, 1.5))
    return outputs_of(logits, task), labels


def area(outputs: np.ndarray, has_it: np.ndarray) -> float:
    """Return the part of the pairs that are in the right order; ties count half."""
    pairs = [np.sign(a - b) / 2 + 0.5 for a in outputs[has_it == 1] for b in outputs[has_it == 0]]
    return float(np.mean(pairs))


def f1_of(found: np.ndarray, right: np.ndarray) -> float:
    hits = int((found & right).sum())
    return 2 * hits / int(found.sum() + right.sum())


def test_outputs_are_probabilities_or_scores():
    logits = torch.randn(5, 3, dtype=torch.bfloat16)
    one = outputs_of(logits, THREE)
    assert one.dtype == np.float64 and one.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-12)
    np.testing.assert_allclose(one, logits.double().softmax(1).numpy(), rtol=1e-12)
    np.testing.assert_allclose(outputs_of(logits, MANY), logits.double().sigmoid().numpy(), rtol=1e-12)
    assert outputs_of(torch.tensor([0.5, 2.0]), NUMBER).tolist() == [[0.5], [2.0]]
    huge = outputs_of(torch.tensor([[800.0, -800.0]]), TWO)
    assert huge.tolist() == [[1.0, 0.0]]


def test_log_loss_and_roc_auc_against_their_definitions():
    outputs, labels = random_case(TWO)
    assert score("log_loss", outputs, labels, TWO) == pytest.approx(
        -np.mean([np.log(row[label]) for row, label in zip(outputs, labels, strict=True)])
    )
    assert score("roc_auc", outputs, labels, TWO) == pytest.approx(area(outputs[:, 1], labels))
    outputs, labels = random_case(THREE)
    each = [area(outputs[:, index], (labels == index).astype(int)) for index in range(3)]
    assert score("roc_auc", outputs, labels, THREE) == pytest.approx(np.mean(each))
    outputs, labels = random_case(MANY)
    each = [area(outputs[:, index], labels[:, index]) for index in range(3)]
    assert score("roc_auc", outputs, labels, MANY) == pytest.approx(np.mean(each))
    right = np.where(labels == 1, outputs, 1 - outputs)
    assert score("log_loss", outputs, labels, MANY) == pytest.approx(-np.log(right).mean())


def test_metrics_of_several_labels_against_their_definitions():
    outputs, labels = random_case(MANY)
    found = outputs > 0.5
    right = labels == 1
    assert score("accuracy", outputs, labels, MANY) == np.mean(
        [(a == b).all() for a, b in zip(found, right, strict=True)]
    )
    assert score("micro_f1", outputs, labels, MANY) == pytest.approx(f1_of(found, right))
    each = [f1_of(found[:, index], right[:, index]) for index in range(3)]
    assert score("macro_f1", outputs, labels, MANY) == pytest.approx(np.mean(each))


def test_a_task_of_one_label_is_no_task_of_one_class():
    task = Task("one", ("sentence1",), ("spam",), "macro_f1", multi_label=True)
    outputs, labels = np.array([[0.9], [0.2], [0.6], [0.1]]), [[1], [0], [0], [1]]
    assert score("macro_f1", outputs, labels, task) == score("micro_f1", outputs, labels, task) == 0.5
    assert score("accuracy", outputs, labels, task) == 0.5
    assert [tuple(row) for row in per_class(outputs, labels, task)] == [("spam", 0.5, 0.5, 0.5, 2)]
    assert confusion(outputs, labels, task).tolist() == [[[1, 1], [1, 1]]]
    assert score("roc_auc", outputs, labels, task) == 0.5


@pytest.mark.parametrize("task", [TWO, THREE, MANY, NUMBER])
def test_all_scores_are_all_that_fit(task):
    outputs, labels = random_case(task)
    found = all_scores(outputs, labels, task)
    assert set(found) == {
        name
        for name, metric in METRICS.items()
        if task.problem_type in metric.problem_types and (name != "f1" or task.num_labels == 2)
    }
    assert all(np.isfinite(value) for value in found.values())
    assert found == {name: score(name, outputs, labels, task) for name in found}


def test_labels_of_one_class():
    outputs = np.array([[0.4, 0.6], [0.3, 0.7]])
    assert "roc_auc" not in all_scores(outputs, [1, 1], TWO) and all_scores(outputs, [1, 1], TWO)["f1"] == 1
    with pytest.raises(DataError, match=r"roc_auc of task 'two' is undefined: .* another metric\.$"):
        score("roc_auc", outputs, [1, 1], TWO)


def test_classes_without_both_values_are_left_out():
    outputs, labels = random_case(THREE)
    labels = np.where(labels == 2, 0, labels)
    assert left_out(labels, THREE) == ["c"] and left_out([0.5, 1.0], NUMBER) == []
    each = [area(outputs[:, index], (labels == index).astype(int)) for index in range(2)]
    assert score("roc_auc", outputs, labels, THREE) == pytest.approx(np.mean(each))
    many = np.array([[1, 0, 1], [1, 0, 0]])
    assert left_out(many, MANY) == ["x", "y"]
    found = np.array([[0.9, 0.1, 0.8], [0.9, 0.1, 0.2]])
    assert score("roc_auc", found, many, MANY) == 1.0
    # y is in no label and in no prediction: it is not in the mean
    assert score("macro_f1", found, many, MANY) == 1.0


def test_nothing_predicted_and_certain_errors():
    nothing = np.full((2, 3), 0.5)  # a probability of a half is not above a half
    assert predictions_of(nothing, MANY).sum() == 0
    assert score("macro_f1", nothing, np.zeros((2, 3)), MANY) == 0.0
    assert score("micro_f1", nothing, np.ones((2, 3)), MANY) == 0.0
    wrong = score("log_loss", np.array([[1.0, 0.0]]), [1], TWO)
    assert 30 < wrong < 40
    assert score("log_loss", np.array([[1.0, 0.0]]), [0], TWO) == pytest.approx(0, abs=1e-12)
    assert score("pearson", np.zeros((3, 1)), [1.0, 2.0, 3.0], NUMBER) == 0.0


def test_predictions_are_those_of_the_logits():
    logits = torch.tensor([[0.2, -0.1, 3.0], [-2.0, 0.0, 1e-3]])
    found = predictions_from_logits(logits, MANY)
    assert (
        found.tolist() == [[1, 0, 1], [0, 0, 1]] == predictions_of(outputs_of(logits, MANY), MANY).tolist()
    )
    assert predictions_of(outputs_of(logits, THREE), THREE).tolist() == [2, 2]


def test_precision_and_recall_by_class():
    outputs = np.eye(3)[[0, 1, 1, 0]]
    assert [tuple(row) for row in per_class(outputs, [0, 1, 0, 0], THREE)] == [
        ("a", 1.0, pytest.approx(2 / 3), pytest.approx(0.8), 3),
        ("b", 0.5, 1.0, pytest.approx(2 / 3), 1),
        ("c", 0.0, 0.0, 0.0, 0),
    ]
    assert confusion(outputs, [0, 1, 0, 0], THREE).tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    many = confusion(np.array([[0.9, 0.2, 0.7]]), [[1, 1, 0]], MANY)
    assert many.tolist() == [[[0, 0], [0, 1]], [[0, 0], [1, 0]], [[0, 1], [0, 0]]]
    rows = per_class(np.array([[0.9, 0.2, 0.7]]), [[1, 1, 0]], MANY)
    assert [row.f1 for row in rows] == [1.0, 0.0, 0.0] and [row.support for row in rows] == [1, 1, 0]
    with pytest.raises(ConfigError, match="'stsb' has no classes"):
        per_class(np.zeros((2, 1)), [1.0, 2.0], NUMBER)
    with pytest.raises(ConfigError, match="'stsb' has no classes"):
        confusion(np.zeros((2, 1)), [1.0, 2.0], NUMBER)


@pytest.mark.parametrize("task", [TWO, THREE, MANY, NUMBER])
def test_the_constant_answer_is_the_best_of_its_kind(task):
    _, labels = random_case(task)
    draw = np.random.default_rng(0)
    for metric in all_scores(np.tile(constant_outputs(task.metric, labels, task), (60, 1)), labels, task):
        sign = 1 if greater_is_better(metric) else -1
        best = sign * score(metric, np.tile(constant_outputs(metric, labels, task), (60, 1)), labels, task)
        for _ in range(20):
            other = outputs_of(torch.from_numpy(draw.normal(size=(1, task.num_labels)) * 3), task)
            assert sign * score(metric, np.tile(other, (60, 1)), labels, task) <= best + 1e-12


def test_constant_scores_of_losses():
    loss = Task("loss", ("sentence1",), ("no", "yes"), "log_loss")
    expected = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert constant_score(loss, [1, 1, 1, 0]) == pytest.approx(expected)
    error = Task("error", ("sentence1",), None, "mae")
    assert constant_score(error, [0.0, 1.0, 5.0]) == pytest.approx(5 / 3)
    assert constant_score(MANY, [[1, 0, 0], [1, 1, 0]]) == pytest.approx(6 / 7)


@pytest.mark.parametrize(
    ("outputs", "labels", "task", "error", "message"),
    [
        (
            np.zeros((2, 3)),
            [0, 1],
            TWO,
            ShapeError,
            r"\(examples, 2\) with one or more examples, got \(2, 3\)",
        ),
        (np.zeros((0, 2)), [], TWO, ShapeError, "one or more examples"),
        (np.eye(2), [0], TWO, ShapeError, "expected 1 outputs, got 2"),
        (
            np.eye(2),
            [0, 2],
            TWO,
            DataError,
            "example 2 in task 'two': expected a whole number from 0 to 1, got 2",
        ),
        (np.eye(2), [0, 0.5], TWO, DataError, "got 0.5"),
        (np.eye(2), ["no", "yes"], TWO, DataError, "got 'no'"),
        (np.eye(2), [[0], [1]], TWO, ShapeError, r"expected shape \(examples,\)"),
        (np.eye(3)[:2], [0, 1], MANY, ShapeError, r"expected shape \(examples, 3\)"),
        (np.eye(3)[:1], [[0, 1, 2]], MANY, DataError, "from 0 to 1, got 2"),
        (
            np.array([[2.0, -1.0]]),
            [0],
            TWO,
            DataError,
            "no probabilities: expected numbers from 0 to 1 that sum",
        ),
        (np.array([[0.9, 0.9]]), [0], TWO, DataError, r"got \[0.9, 0.9\]"),
        (np.array([[np.nan, 1.0]]), [0], TWO, DataError, "got NaN or infinity for 1"),
        (np.array([[1.0]]), [np.inf], NUMBER, DataError, "expected a finite score"),
    ],
)
def test_what_does_not_fit(outputs, labels, task, error, message):
    with pytest.raises(error, match=message):
        score(task.metric, outputs, labels, task)
    with pytest.raises(error, match=message):
        all_scores(outputs, labels, task)


def test_metrics_that_do_not_fit():
    with pytest.raises(ConfigError, match="Unknown metric 'rocauc'.*Did you mean 'roc_auc'"):
        score("rocauc", np.eye(2), [0, 1], TWO)
    with pytest.raises(ConfigError, match="'mae' does not fit task 'two': expected one of accuracy"):
        score("mae", np.eye(2), [0, 1], TWO)
    with pytest.raises(ConfigError, match="'f1' does not fit task 'three'"):
        score("f1", np.eye(3), [0, 1, 2], THREE)
    with pytest.raises(ConfigError, match="Unknown metric"):
        greater_is_better("roc")
    assert greater_is_better("roc_auc") and not greater_is_better("mae")


def test_rounded_probabilities_are_taken():
    outputs = np.full((2, 3), 0.333)
    assert score("log_loss", outputs, [0, 1], THREE) == pytest.approx(np.log(3))
    assert labels_array(torch.tensor([1, 0]), TWO).dtype == np.int64
    assert labels_array(torch.tensor([1.5]), NUMBER).tolist() == [1.5]
