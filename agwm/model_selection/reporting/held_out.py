"""Answers of one candidate for rows that it was not trained on, with the right labels beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

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
        names: Names of classes or labels; empty for scores.
        problem_type: That of the record.
    """

    outputs: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    repeats: int
    names: list[str]
    problem_type: str

    @property
    def is_regression(self) -> bool:
        """True for scores."""
        return self.problem_type == "regression"

    @property
    def is_multi_label(self) -> bool:
        """True where a row may have several labels, or none."""
        return self.problem_type == "multi_label_classification"

    @property
    def found(self) -> np.ndarray:
        """The answers themselves: class indices, 0 and 1 for each label, or scores."""
        if self.is_regression:
            return self.outputs[:, 0]
        return (self.outputs > 0.5).astype(int) if self.is_multi_label else self.outputs.argmax(axis=1)

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
    """Gather the answers of a candidate over all folds and repetitions; None: it gave none."""
    folds = [fold for fold in record.folds if fold.candidate == candidate and fold.outputs]
    if not folds:
        return None
    rows = [row for fold in folds for row in fold.rows]
    outputs = [line for fold in folds for line in fold.outputs]
    labels = [record.labels[row] for row in rows]
    return _answers(record, rows, outputs, labels, len({fold.repeat for fold in folds}))


def tested(record: FitRecord) -> Answers | None:
    """Return the answers of the chosen model for the test file; None: there was none."""
    if record.test is None or not record.test.outputs:
        return None
    rows = range(len(record.test.labels))
    return _answers(record, rows, record.test.outputs, record.test.labels, 1)


def _answers(
    record: FitRecord, rows: Sequence[int], outputs: Sequence[Any], labels: Sequence[Any], repeats: int
) -> Answers:
    values = np.asarray(outputs, dtype=float)
    return Answers(
        outputs=values.reshape(len(values), -1),
        labels=np.asarray(labels, dtype=float if record.problem_type == "regression" else int),
        rows=np.asarray(rows, dtype=int),
        repeats=repeats,
        names=[clean(name) for name in record.label_names or []],
        problem_type=record.problem_type,
    )
