"""Draw seeded subsets of the training set: small samples, and the inner and outer split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeAlias

import datasets
import numpy as np
from torch import Tensor

from agwm.checks import Fraction, Interval, check_value
from agwm.errors import SplitError

__all__ = [
    "check_disjoint",
    "low_resource_sizes",
    "outer_split_size",
    "sample_low_resource",
    "split_train",
]

Labels: TypeAlias = Sequence[int | float | str] | np.ndarray | Tensor | datasets.Dataset

SMALLEST_SAMPLE = 10
_SCORE_BINS = 5


def _labels(source: Labels) -> np.ndarray:
    if isinstance(source, datasets.Dataset):
        names = [name for name in ("label", "labels") if name in source.column_names]
        if not names:
            raise SplitError(
                "The data set has no labels: expected a column 'label' or 'labels', got "
                f"{', '.join(source.column_names)}."
            )
        source = source[names[0]][:]  # reads all rows at once; iterating a column reads one by one
    array: np.ndarray[Any, Any] = np.asarray(source)
    if array.ndim != 1 or array.size == 0:
        raise SplitError(f"Labels have the wrong shape: expected one each, got {array.shape}.")
    return array


def _generator(seed: int) -> np.random.Generator:
    check_value("seed", Annotated[int, Interval(0, 2**64 - 1)], seed, error=SplitError)
    return np.random.default_rng(int(seed))


def _strata(labels: np.ndarray) -> np.ndarray:
    """Return each example's group number. Groups are the classes, or fifths of the scores."""
    if np.issubdtype(labels.dtype, np.floating):
        ranks = np.empty(len(labels), dtype=np.int64)
        ranks[np.argsort(labels, kind="stable")] = np.arange(len(labels))
        return ranks * _SCORE_BINS // len(labels)
    return np.unique(labels, return_inverse=True)[1]


def _take(rng: np.random.Generator, pool: np.ndarray, count: int, strata: np.ndarray) -> np.ndarray:
    """Draw ``count`` of ``pool``. Each stratum gives its share, rounded by largest remainder."""
    groups = [rng.permutation(pool[strata[pool] == group]) for group in np.unique(strata[pool])]
    sizes = np.array([len(group) for group in groups])
    exact = sizes * count / len(pool)
    quota = np.floor(exact).astype(int)
    order = np.argsort(-(exact - quota), kind="stable")
    quota[order[: count - quota.sum()]] += 1
    return rng.permutation(np.concatenate([g[:q] for g, q in zip(groups, quota, strict=True)]))


def low_resource_sizes(num_examples: int, n: int | None) -> tuple[int, int]:
    """Return the sizes of the training and of the development set.

    Args:
        num_examples: Size of the whole training data.
        n: Number of training examples, at least 10; None: all but the development set.

    Returns:
        ``n`` and ``n // 6``. Without ``n`` the development set is a seventh of everything, rounded
        down, and the training set is the rest.

    Raises:
        SplitError: If ``n`` is too small, or the data has fewer than ``n + n // 6`` examples.

    Example:
        >>> low_resource_sizes(1000, 300), low_resource_sizes(200, None)
        ((300, 50), (172, 28))
    """
    train, dev = (num_examples - num_examples // 7, num_examples // 7) if n is None else (n, n // 6)
    if train < SMALLEST_SAMPLE:
        raise SplitError(
            f"Too few training examples: expected n >= {SMALLEST_SAMPLE}, got {train}. "
            "A development set of n // 6 is drawn besides."
        )
    if train + dev > num_examples:
        raise SplitError(
            f"Not enough data: expected at least {train + dev} examples for n={train} and {dev} for "
            f"development, got {num_examples}. Choose a smaller n, or all."
        )
    return train, dev


def sample_low_resource(
    labels: Labels, n: int | None, seed: int, stratified: bool = False
) -> tuple[list[int], list[int]]:
    """Draw a small training set and a development set a sixth of its size.

    Both come from the training data and share no example. Their sizes are those of
    :func:`low_resource_sizes`. The draw depends on ``seed`` alone, not on global random state.

    Args:
        labels: Labels of the whole training data, or the data set that has them.
        n: Number of training examples, at least 10; None: all but the development set.
        seed: Whole number >= 0.
        stratified: Keep the share of every class. For regression (float labels), keep the share
            of every fifth of the scores. If False, every example is equally likely.

    Returns:
        Indices of the training and of the development examples, in random order.

    Raises:
        SplitError: If ``n`` is too small or the data has fewer than ``n + n // 6`` examples.
    """
    values, rng = _labels(labels), _generator(seed)
    n, dev = low_resource_sizes(len(values), n)
    strata = _strata(values) if stratified else np.zeros(len(values), dtype=np.int64)
    everything = np.arange(len(values))
    train = _take(rng, everything, n, strata)
    development = _take(rng, np.setdiff1d(everything, train), dev, strata)
    return train.tolist(), development.tolist()


def split_train(
    labels: int | Labels, outer_fraction: float = 0.2, *, seed: int, stratified: bool = False
) -> tuple[list[int], list[int]]:
    """Split the training set at random into the inner and the outer split, 4:1 by default.

    The two splits share no example and cover the set. The outer split has :func:`outer_split_size`
    examples.

    Args:
        labels: Number of examples; or their labels, or the data set that has them.
        outer_fraction: Part of the examples that the outer split gets, in (0, 1).
        seed: Whole number >= 0.
        stratified: Keep the share of every class (or fifth of the scores); needs labels.

    Returns:
        Indices of the inner and of the outer split, in random order.

    Raises:
        SplitError: If there are fewer than 2 examples, the fraction is out of range, or a
            stratified split is asked for without labels.
    """
    count = int(labels) if isinstance(labels, (int, np.integer)) else None
    if count is not None and stratified:
        raise SplitError("A stratified split needs labels: expected labels, got a number.")
    values = np.zeros(max(count, 0), dtype=np.int64) if count is not None else _labels(labels)
    if len(values) < 2:
        raise SplitError(f"Too few examples to split: expected at least 2, got {len(values)}.")
    check_value("outer_fraction", Fraction, outer_fraction, error=SplitError)
    if outer_fraction in (0, 1):
        raise SplitError(f"Wrong outer_fraction: expected 0 < x < 1, got {outer_fraction}. Use 0.2.")
    rng = _generator(seed)
    size = outer_split_size(len(values), outer_fraction)
    strata = _strata(values) if stratified else np.zeros(len(values), dtype=np.int64)
    everything = np.arange(len(values))
    outer = _take(rng, everything, size, strata)
    inner = rng.permutation(np.setdiff1d(everything, outer)).tolist()
    check_disjoint(inner, outer.tolist(), len(values))
    return inner, outer.tolist()


def outer_split_size(num_examples: int, outer_fraction: float) -> int:
    """Return the size of the outer split: rounded half up, from 1 to ``num_examples - 1``."""
    return min(max(int(outer_fraction * num_examples + 0.5), 1), num_examples - 1)


def check_disjoint(inner: Iterable[int], outer: Iterable[int], total: int | None = None) -> None:
    """Raise unless the inner and the outer split share no example and cover the training set.

    Args:
        inner: Indices of the inner split.
        outer: Indices of the outer split.
        total: Size of the training set; None to leave coverage unchecked.

    Raises:
        SplitError: If the splits share an example, or do not cover ``range(total)``.
    """
    first, second = {int(i) for i in inner}, {int(i) for i in outer}
    union = first | second
    shared = len(first & second)
    if shared:
        raise SplitError(
            f"inner_split and outer_split share {shared} of {total or len(union)} examples; the "
            "outer loss would not be held out. Use split_train(..., seed=...)."
        )
    if total is not None and union != set(range(total)):
        missing = len(set(range(total)) - union)
        raise SplitError(
            f"inner_split and outer_split do not cover the training set: expected {total} "
            f"examples, {missing} missing and {len(union - set(range(total)))} out of range. "
            "Use split_train(..., seed=...)."
        )
