"""Parts of the rows, drawn by scikit-learn, and the most complete of several draws."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from agwm.errors import DataError

__all__ = ["draw_parts", "most_complete"]


def draw_parts(
    strata: np.ndarray, groups: np.ndarray, num_parts: int, entropy: tuple[int, ...]
) -> list[np.ndarray]:
    """Split rows into stratified parts, by scikit-learn, and never a group.

    Args:
        strata: The stratum of each row.
        groups: The group of each row.
        num_parts: Number of parts.
        entropy: Decides the parts.

    Returns:
        The positions of the rows of each part.
    """
    num_rows = len(strata)
    if np.bincount(strata).max() < num_parts:  # scikit-learn wants one stratum that reaches all parts
        strata = np.concatenate([strata, np.full(num_parts, strata.max() + 1)])
        groups = np.concatenate([groups, groups.max() + 1 + np.arange(num_parts)])
    state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    # Without rows to keep together the plain splitter does, in a twentieth of the time. But it always puts
    # two rare strata into different parts, so that no part would have both.
    fewest = np.unique(strata, return_counts=True)[1].min()
    is_plain = len(np.unique(groups)) == len(groups) and fewest >= num_parts
    kind = StratifiedKFold if is_plain else StratifiedGroupKFold
    splitter = kind(num_parts, shuffle=True, random_state=state)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        parts = [test for _, test in splitter.split(strata, strata, None if is_plain else groups)]
    return [test[test < num_rows] for test in parts]


def most_complete(
    draws: Iterable[list[np.ndarray]], matrix: np.ndarray
) -> tuple[list[np.ndarray], list[tuple[str, int]]]:
    """Return the first draw whose parts, and all that is left beside each, have every class.

    Args:
        draws: Each a list of held-out parts.
        matrix: Which classes a row has.

    Returns:
        The parts, or the best of the draws, and what they lack: "training" or "held-out", and the class.

    Raises:
        DataError: If each draw leaves a part without a row.
    """
    best: tuple[list[np.ndarray], list[tuple[str, int]]] | None = None
    present = matrix.any(axis=0)

    def cost(missing: list[tuple[str, int]]) -> tuple[int, int]:
        return sum(part == "training" for part, _ in missing), len(missing)

    for tests in draws:
        if not all(map(len, tests)):
            continue
        missing = []
        for test in tests:
            train = np.delete(matrix, test, axis=0)
            for part, rows in (("training", train), ("held-out", matrix[test])):
                missing += [(part, int(c)) for c in np.flatnonzero(present & ~rows.any(axis=0))]
        if best is None or cost(missing) < cost(best[1]):
            best = tests, missing
        if not missing:
            break
    if best is None:
        raise DataError("Too few rows to split: expected a row in each part, got none in some. Add rows.")
    return best
