"""Splits of the rows, by scikit-learn: repeated folds, and a held-out part inside of a training part."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agwm.errors import AgwmWarning, DataError, SplitError, shown
from agwm.model_selection.drawn_parts import draw_parts, most_complete
from agwm.model_selection.strata import group_counts, label_matrix, make_strata

__all__ = ["Fold", "inner_split", "make_folds"]

_FEWEST = 3  # folds that are still taken where the rarest class has fewer texts
_DRAWS = 5  # of a split, until no class is missing
_MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class Fold:
    """One split of the rows.

    Attributes:
        repeat: Number of the repetition, from 0.
        fold: Number of the fold in it, from 0.
        train: Positions of the training rows, ascending.
        test: Positions of the held-out rows, ascending.
    """

    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray


def make_folds(
    labels: Sequence[Any] | np.ndarray,
    groups: np.ndarray,  # shape: (rows,)
    problem_type: str,
    num_folds: int,
    num_repeats: int,
    seed: int,
    *,
    label_names: Sequence[str] | None = None,
    notice: Callable[[str], None] | None = None,
) -> list[Fold]:
    """Split the rows into stratified folds, as often as asked, and never a group.

    Every row is held out once in each repetition. If the rarest class has fewer different texts than there
    are folds, as many folds are made as it has texts, but three at least; scores need two different texts
    a fold. The smallest data that work have two different texts of each class, or four with scores. A label
    of a multi-label task may be as rare as it is.

    Args:
        labels: Class indices, scores, or for several labels rows of 0 and 1.
        groups: Those of :func:`agwm.model_selection.groups.group_rows`.
        problem_type: ``"single_label_classification"``, ``"multi_label_classification"``, ``"regression"``.
        num_folds: Number of folds, two or more.
        num_repeats: Number of repetitions, each with other folds.
        seed: Decides the folds.
        label_names: Names of the classes or labels, for the messages.
        notice: Called with a line on fewer folds, and on each class that a part has to do without. None:
            the lines are warnings.

    Returns:
        The folds, repetition by repetition.

    Raises:
        SplitError: If there are fewer than two folds or no repetition.
        DataError: If there are too few different texts, of a class or in all.

    Example:
        >>> import numpy as np
        >>> folds = make_folds([0, 1] * 6, np.arange(12), "single_label_classification", 3, 2, seed=0)
        >>> len(folds), len(folds[0].test), len(folds[0].train)
        (6, 4, 8)
    """
    if num_folds < 2 or num_repeats < 1:
        raise SplitError(
            "No folds to make: expected two or more folds and one or more repetitions, got"
            f" {num_folds} and {num_repeats}. Ask for more."
        )
    say, names = notice or _warn, _Names(label_names)
    matrix = label_matrix(labels, problem_type)
    asked = num_folds
    num_folds = _possible(matrix, groups, problem_type, asked, names)
    if num_folds < asked:
        say(
            f"{num_folds} folds are made, not {asked}: {_rarest(matrix, groups, problem_type, names)}."
            " More rows allow more folds."
        )
    strata = make_strata(labels, groups, problem_type, num_folds)
    folds, incomplete = [], set()
    for repeat in range(num_repeats):
        draws = (draw_parts(strata, groups, num_folds, (seed, repeat, draw)) for draw in range(_DRAWS))
        tests, missing = most_complete(draws, matrix)
        incomplete |= set(missing)
        for number, test in enumerate(tests):
            folds.append(Fold(repeat, number, np.setdiff1d(np.arange(len(groups)), test), test))
    for part, label in sorted(incomplete):
        say(f"{names.kind(problem_type)} {names(label)} is so rare that some {part} parts have none of it.")
    return folds


def inner_split(
    labels: Sequence[Any] | np.ndarray,
    groups: np.ndarray,  # shape: (rows,)
    problem_type: str,
    fraction: float,
    seed: int,
    *,
    label_names: Sequence[str] | None = None,
    notice: Callable[[str], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # shape: (train rows,), (dev rows,)
    """Split rows once, stratified, and never a group: into a training part, and one to choose settings on.

    A class of one text stays in the training part, so that this part has every class.

    Args:
        labels: Labels of the rows, as in :func:`make_folds`.
        groups: Groups of these rows.
        problem_type: As in :func:`make_folds`.
        fraction: About the part of the rows that is held out, at most a half.
        seed: Decides the split.
        label_names: Names of the classes or labels, for the messages.
        notice: Called with a line on each class that a part has to do without. None: lines are warnings.

    Returns:
        Positions among these rows, both ascending.

    Raises:
        SplitError: If the fraction is not in (0, 0.5].
        DataError: If there are fewer than two texts that could be held out.

    Example:
        >>> import numpy as np
        >>> train, dev = inner_split([0, 1] * 6, np.arange(12), "single_label_classification", 0.25, seed=0)
        >>> len(train), len(dev)
        (9, 3)
    """
    if not 0 < fraction <= 0.5:
        raise SplitError(f"No part to hold out: expected a fraction in (0, 0.5], got {fraction!r}.")
    say, names = notice or _warn, _Names(label_names)
    matrix = label_matrix(labels, problem_type)
    single = group_counts(matrix, groups) == 1
    pinned = np.isin(groups, groups[matrix[:, single].any(axis=1)])
    free = np.flatnonzero(~pinned)
    num_texts = len(np.unique(groups[free]))
    if num_texts < 2:
        raise DataError(
            f"No part to hold out: expected two different texts or more whose class has others, got"
            f" {num_texts}. Add rows."
        )
    num_parts = min(max(2, round(1 / fraction)), num_texts)
    strata = make_strata(np.asarray(labels)[free], groups[free], problem_type, num_parts)
    parts = (
        [free[part]]
        for draw in range(_DRAWS)
        for part in draw_parts(strata, groups[free], num_parts, (seed, draw))
    )
    (dev,), missing = most_complete(parts, matrix)
    for part, label in missing:
        say(f"{names.kind(problem_type)} {names(label)} is so rare that the {part} part has none of it.")
    return np.setdiff1d(np.arange(len(groups)), dev), dev


class _Names:
    """Names of classes for the messages; their numbers where there are no names."""

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = names

    def __call__(self, label: int) -> str:
        return shown(self._names[label], 40) if self._names is not None else str(label)

    def several(self, labels: np.ndarray) -> str:
        more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
        return ", ".join(self(int(label)) for label in labels[:_MOST_NAMED]) + more

    @staticmethod
    def kind(problem_type: str) -> str:
        return "Label" if problem_type == "multi_label_classification" else "Class"


def _possible(
    matrix: np.ndarray, groups: np.ndarray, problem_type: str, num_folds: int, names: _Names
) -> int:
    """Return the number of folds that the texts allow, at most the one that is asked for.

    Raises:
        DataError: If there are too few different texts, of a class or in all.
    """
    num_texts = len(np.unique(groups))
    if problem_type == "single_label_classification":
        counts = group_counts(matrix, groups)
        single = np.flatnonzero(counts == 1)
        if len(single) or not num_texts:
            raise DataError(
                "Cannot hold a class out and train on it: expected two different texts or more of every"
                f" class, got {'1 of ' + names.several(single) if num_texts else 'no row'}. Add rows, or"
                " give its rows the label of another class."
            )
        return min(num_folds, max(_FEWEST, int(counts[counts > 0].min())), num_texts)
    if num_texts < 4:
        raise DataError(
            f"Too few rows for two folds: expected four different texts or more, got {num_texts}. Add rows."
        )
    return min(num_folds, num_texts // 2)


def _rarest(matrix: np.ndarray, groups: np.ndarray, problem_type: str, names: _Names) -> str:
    if problem_type != "single_label_classification":
        return f"there are {len(np.unique(groups))} different texts"
    counts = group_counts(matrix, groups)
    fewest = counts[counts > 0].min()
    rare = np.flatnonzero(counts == fewest)
    return f"there are {fewest} different texts of class {names.several(rare)}"


def _warn(line: str) -> None:
    warnings.warn(line, AgwmWarning, stacklevel=3)
