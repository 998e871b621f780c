"""Strata: classes, label sets or ranges of scores of which every part of a split gets its share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["group_counts", "label_matrix", "make_strata"]

_MOST_RANGES = 10


def make_strata(
    labels: Sequence[Any] | np.ndarray,
    groups: np.ndarray,  # shape: (rows,)
    problem_type: str,
    num_parts: int,
) -> np.ndarray:  # shape: (rows,)
    """Number the stratum of each row.

    The strata are the classes; for scores up to ten ranges between quantiles, each of ``num_parts`` groups
    or more; for several labels the label sets. A label set of fewer groups than parts joins the stratum of
    the rarest of its labels.

    Args:
        labels: Class indices, scores, or for several labels rows of 0 and 1.
        groups: Those of :func:`agwm.model_selection.groups.group_rows`.
        problem_type: ``"single_label_classification"``, ``"multi_label_classification"``, ``"regression"``.
        num_parts: Number of parts that the rows are split into.

    Returns:
        Numbers from 0.

    Example:
        >>> import numpy as np
        >>> make_strata([0.1, 5.0, 0.3, 4.0], np.arange(4), "regression", num_parts=2)
        array([0, 1, 0, 1])
    """
    values = np.asarray(labels)
    if problem_type == "regression":
        num_ranges = int(np.clip(len(np.unique(groups)) // num_parts, 1, _MOST_RANGES))
        edges = np.unique(np.quantile(values, np.arange(1, num_ranges) / num_ranges))
        strata = np.searchsorted(edges, values, side="right")
    elif problem_type == "multi_label_classification":
        strata = _label_sets(values.astype(bool), groups, num_parts)
    else:
        strata = values
    return np.unique(strata, return_inverse=True)[1].reshape(-1)


def label_matrix(
    labels: Sequence[Any] | np.ndarray,
    problem_type: str,
) -> np.ndarray:  # shape: (rows, classes)
    """Return which classes or labels a row has; no column for scores.

    Args:
        labels: Class indices, scores, or for several labels rows of 0 and 1.
        problem_type: As in :func:`make_strata`.

    Returns:
        Booleans. The columns of classes are those from 0 to the largest that a row has.
    """
    values = np.asarray(labels)
    if problem_type == "regression":
        return np.zeros((len(values), 0), bool)
    if problem_type == "multi_label_classification":
        return values.astype(bool)
    return values[:, None] == np.arange(values.max(initial=-1) + 1)


def group_counts(
    matrix: np.ndarray,  # shape: (rows, classes)
    groups: np.ndarray,  # shape: (rows,)
) -> np.ndarray:  # shape: (classes,)
    """Count for each class the groups that hold a row of it."""
    return np.array([len(np.unique(groups[column])) for column in matrix.T], np.int64)


def _label_sets(matrix: np.ndarray, groups: np.ndarray, num_parts: int) -> np.ndarray:
    rows, sets = np.unique(matrix, axis=0, return_inverse=True)
    sets = sets.reshape(-1)  # some releases of numpy give it an axis more
    rarity = matrix.sum(axis=0)
    strata = sets.copy()
    for number, row in enumerate(rows):
        members = sets == number
        if row.any() and len(np.unique(groups[members])) < num_parts:
            rarest = min(np.flatnonzero(row), key=lambda label: rarity[label])
            strata[members] = len(rows) + rarest
    return strata
