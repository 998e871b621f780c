"""Tasks: the table, the look-up and the checks."""

from __future__ import annotations

import pytest

from agwm.data import EMBEDDED_TASKS, GLUE_TASKS, TASKS, Task, get_task
from agwm.errors import DataError

METRICS = {
    "cola": "matthews", "mrpc": "f1", "stsb": "spearman", "rte": "accuracy", "sst2": "accuracy",
    "qnli": "accuracy", "qqp": "accuracy", "mnli": "accuracy", "acceptability": "matthews",
    "paraphrase": "f1", "entailment": "accuracy", "similarity": "spearman",
}  # fmt: skip


def test_metrics_are_those_of_the_paper() -> None:
    assert {name: task.metric for name, task in TASKS.items()} == METRICS
    assert (*GLUE_TASKS, *EMBEDDED_TASKS) == tuple(METRICS)


@pytest.mark.parametrize(
    ("name", "labels", "regression", "pair"),
    [
        ("cola", 2, False, False),
        ("stsb", 1, True, True),
        ("mnli", 3, False, True),
        ("sst2", 2, False, False),
        ("similarity", 1, True, True),
    ],
)
def test_properties(name: str, labels: int, regression: bool, pair: bool) -> None:
    task = TASKS[name]
    assert (task.num_labels, task.is_regression, task.is_pair) == (labels, regression, pair)


@pytest.mark.parametrize(
    ("name", "found"), [("STS-B", "stsb"), ("sst-2", "sst2"), ("CoLA", "cola"), ("SST_2", "sst2")]
)
def test_names_ignore_case_and_hyphens(name: str, found: str) -> None:
    assert get_task(name).name == found


def test_unknown_name_shows_close_ones() -> None:
    with pytest.raises(DataError, match=r"Unknown task 'paraphrse'.*Did you mean 'paraphrase'"):
        get_task("paraphrse")


@pytest.mark.parametrize(
    ("columns", "names", "metric", "message"),
    [
        (("text",), ("a", "b"), "accuracy", "wrong text columns"),
        (("sentence1",), ("a",), "accuracy", "two or more different"),
        (("sentence1",), ("a", "a"), "accuracy", "two or more different"),
        (("sentence1",), ("a", "b"), "acuracy", "Did you mean 'accuracy'"),
        (("sentence1",), ("a", "b"), "spearman", "for classification"),
        (("sentence1",), None, "f1", "for regression"),
        (("sentence1",), ("a", "b", "c"), "f1", "expected 2 classes"),
        (("sentence1",), None, "log_loss", "expected one of spearman, pearson, mae for regression"),
        (("sentence1",), ("a", "b"), "mae", "for classification"),
    ],
)
def test_fields_that_do_not_fit(columns: tuple, names: tuple, metric: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Task("mine", columns, names, metric)


def test_positive_class() -> None:
    assert TASKS["mrpc"].positive_class == "equivalent" and TASKS["mrpc"].positive_index == 1
    assert TASKS["rte"].positive_class is None
    names = ("abusive", "normal")
    task = Task("mine", ("sentence1",), names, "f1", positive="abusive")
    assert (task.positive_class, task.positive_index) == ("abusive", 0)
    with pytest.raises(DataError, match=r"expected one of 'abusive', 'normal', got 'abusiv'. Did you mean"):
        Task("mine", ("sentence1",), names, "f1", positive="abusiv")
    with pytest.raises(DataError, match="expected metric 'f1', or no positive class, got 'abusive'"):
        Task("mine", ("sentence1",), names, positive="abusive")


def test_several_labels_an_example() -> None:
    task = Task("mine", ("sentence1",), ("spam",), "macro_f1", multi_label=True)
    assert (task.num_labels, task.problem_type) == (1, "multi_label_classification")
    assert not task.is_regression and task.positive_class is None
    assert TASKS["rte"].problem_type == "single_label_classification"
    assert TASKS["stsb"].problem_type == "regression"


@pytest.mark.parametrize(
    ("names", "metric", "message"),
    [
        (None, "accuracy", "expected those of its labels for multi_label, got none"),
        ((), "accuracy", "expected one or more different ones"),
        (("a", "a"), "accuracy", "expected one or more different ones"),
        (("a", "b"), "matthews", "roc_auc, log_loss for several labels an example"),
        (("a", "b"), "f1", "does not fit task 'mine'"),
    ],
)
def test_labels_that_do_not_fit(names: tuple | None, metric: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Task("mine", ("sentence1",), names, metric, multi_label=True)
