"""The interval of a score on a card: as wide as another draw of the examples makes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agwm.data.metrics import METRICS, compute_metric
from agwm.data.tasks import Task
from agwm.evaluation import intervals
from agwm.evaluation.intervals import score_interval
from agwm.evaluation.scores import score

TASKS = {
    "single_label_classification": Task("one", ("sentence1",), ("no", "yes")),
    "multi_label_classification": Task("many", ("sentence1",), ("a", "b", "c"), multi_label=True),
    "regression": Task("number", ("sentence1",), None, "spearman"),
}


@pytest.mark.parametrize("metric", [name for name, one in METRICS.items() if not one.needs_probabilities])
def test_an_interval_holds_the_score_and_narrows_with_more_examples(metric, monkeypatch):
    monkeypatch.setattr(intervals, "_DRAWS", 49)
    generator = torch.Generator().manual_seed(1)
    widths = []
    for number in (30, 480):
        labels = torch.randint(0, 2, (number,), generator=generator)
        wrong = torch.rand(number, generator=generator) < 0.2
        found = torch.where(wrong, 1 - labels, labels)
        low, high = score_interval(metric, found, labels.tolist())
        assert low < compute_metric(metric, found, labels) < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.5)  # as the root of 16


@pytest.mark.parametrize(
    ("metric", "kind"), [(name, kind) for name, one in METRICS.items() for kind in one.problem_types]
)
def test_an_interval_of_outputs(metric, kind, monkeypatch):
    monkeypatch.setattr(intervals, "_DRAWS", 69)
    task, draw, widths = TASKS[kind], np.random.default_rng(1), []
    for number in (40, 640):
        if task.is_regression:
            labels = draw.normal(size=number)
            outputs = (labels + draw.normal(size=number))[:, None]
        elif task.multi_label:
            labels = draw.integers(0, 2, (number, 3))
            outputs = np.clip(draw.normal(0.3 + 0.4 * labels, 0.25), 0.1, 0.9)
        else:
            labels = draw.integers(0, 2, number)
            yes = np.clip(draw.normal(0.3 + 0.4 * labels, 0.25), 0.1, 0.9)
            outputs = np.stack([1 - yes, yes], axis=1)
        low, high = score_interval(metric, outputs, labels, task=task)
        assert low < score(metric, outputs, labels, task) < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.5)


def test_outputs_and_their_predictions_have_one_interval(monkeypatch):
    monkeypatch.setattr(intervals, "_DRAWS", 49)
    outputs = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]] * 5)
    labels, task = [0, 1, 1, 1] * 5, Task("one", ("sentence1",), ("no", "yes"), "f1", positive="no")
    for metric in ("accuracy", "f1", "matthews"):
        found = score_interval(metric, outputs, labels, task=task)
        assert found == score_interval(metric, outputs.argmax(axis=1), labels, 0)


def test_draws_without_a_second_class_are_left_out(monkeypatch):
    monkeypatch.setattr(intervals, "_DRAWS", 49)
    outputs, labels = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), [0, 0, 1]
    task = TASKS["single_label_classification"]
    assert score_interval("roc_auc", outputs, labels, task=task) == (1.0, 1.0)
    low, high = score_interval("roc_auc", outputs[:2], labels[:2], task=task)
    assert np.isnan(low) and np.isnan(high)


def test_one_example_has_no_interval_and_a_constant_answer_none_that_warns():
    low, high = score_interval("matthews", torch.tensor([1]), [1])
    assert low != low and high != high
    assert score_interval("matthews", torch.zeros(20), [0, 1] * 10) == (0.0, 0.0)
