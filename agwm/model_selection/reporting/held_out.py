"""Answers of one candidate for rows that it was not trained on, with the right labels beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agwm.data.tasks import Task
from agwm.evaluation.outputs import check_pair, predictions_of
from agwm.model_selection.record import FitRecord
from agwm.model_selection.reporting.words import clean

__all__ = ["Answers", "held_out", "tested"]


@dataclass(frozen=True)
class Answers:
    """Outputs of a model beside the right labels; one row an answer.

    Attributes:
        outputs: Probabilities of classes or labels, or one score; shape (answers, k).
        labels: Class indices, shape (answers,); 0 and 1, shape (answers, k); or scores, shape (answers,).
        rows: Position of each answer's row among all rows.
        repeats: Answers a row.
        names: Names of classes or labels, as a page writes them; empty for scores.
        task: The task that they are for.
    """

    outputs: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    repeats: int
    names: list[str]
    task: Task

    @property
    def is_regression(self) -> bool:
        """True for scores."""
        return self.task.is_regression

    @property
    def is_multi_label(self) -> bool:
        """True where a row may have several labels, or none."""
        return self.task.multi_label

    @property
    def found(self) -> np.ndarray:
        """The answers themselves: class indices, 0 and 1 for each label, or scores."""
        return predictions_of(self.outputs, self.task)

    @property
    def is_wrong(self) -> np.ndarray:
        """True for an answer that is not right; of several labels: if any is not."""
        differs = self.found != self.labels
        return differs.any(axis=1) if self.is_multi_label else differs

    def averaged(self) -> Answers:
        """Return one answer a row, of the mean of the row's outputs, in the order of the rows."""
        rows, first, place = np.unique(self.rows, return_index=True, return_inverse=True)
        sums = np.zeros((len(rows), self.outputs.shape[1]))
        np.add.at(sums, place, self.outputs)
        means = sums / np.bincount(place)[:, None]
        return replace(self, outputs=means, labels=self.labels[first], rows=rows, repeats=1)


def held_out(record: FitRecord, candidate: str) -> Answers | None:
    """Gather the answers of a candidate over all folds and repetitions; None: it gave none.

    Raises:
        DataError: If an output is no probability, or no number.
        ShapeError: If outputs do not fit the classes of the record.
    """
    folds = [fold for fold in record.folds if fold.candidate == candidate and fold.outputs]
    if not folds:
        return None
    rows = [row for fold in folds for row in fold.rows]
    outputs = [line for fold in folds for line in fold.outputs]
    labels = [record.labels[row] for row in rows]
    return _answers(record, rows, outputs, labels, len({fold.repeat for fold in folds}))


def tested(record: FitRecord) -> Answers | None:
    """Return the answers of the chosen model for the test file; None: there was none.

    Raises:
        DataError: If an output is no probability, or no number.
        ShapeError: If outputs do not fit the classes of the record.
    """
    if record.test is None or not record.test.outputs:
        return None
    rows = range(len(record.test.labels))
    return _answers(record, rows, record.test.outputs, record.test.labels, 1)


def _answers(
    record: FitRecord, rows: Sequence[int], outputs: Sequence[Any], labels: Sequence[Any], repeats: int
) -> Answers:
    task = _task_of(record)
    values, right = check_pair(np.asarray(outputs, dtype=float), labels, task)
    return Answers(
        outputs=values,
        labels=right,
        rows=np.asarray(rows, dtype=int),
        repeats=repeats,
        names=[clean(name) for name in record.label_names or []],
        task=task,
    )


def _task_of(record: FitRecord) -> Task:
    """Return a task with the classes of a record. Its metric is not used, for the record has the scores."""
    return Task(
        "report",
        ("sentence1",),
        None if record.label_names is None else tuple(record.label_names),
        metric="spearman" if record.problem_type == "regression" else "accuracy",
        multi_label=record.problem_type == "multi_label_classification",
    )
