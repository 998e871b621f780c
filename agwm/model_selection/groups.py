"""Rows of the same text: one group, which no split may cut."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

__all__ = ["group_rows", "groups_line"]


def group_rows(
    texts: Sequence[tuple[str, ...]],
) -> np.ndarray:  # shape: (rows,)
    """Number the groups of rows of the same text.

    Texts are the same if they differ in case, white space or Unicode form (NFKC) alone. A pair is the same
    as its two texts swapped. What the rows' labels are does not matter.

    Args:
        texts: The one or two texts of each row.

    Returns:
        The group of each row, from 0 in the order of their first rows.

    Example:
        >>> group_rows([("Good  film",), ("bad",), ("good film ",)])
        array([0, 1, 0])
    """
    numbers: dict[tuple[str, ...], int] = {}
    return np.array(
        [numbers.setdefault(tuple(sorted(map(_folded, row))), len(numbers)) for row in texts], np.int64
    )


def groups_line(
    groups: np.ndarray,  # shape: (rows,)
) -> str:
    """Say how many rows share a text; "" if none do.

    Args:
        groups: Those of :func:`group_rows`.

    Example:
        >>> import numpy as np
        >>> groups_line(np.array([0, 1, 0, 2, 0]))
        '3 of 5 rows share 1 text (but for case, white space and Unicode form): they stay in one fold.'
    """
    _, sizes = np.unique(groups, return_counts=True)
    shared = sizes[sizes > 1]
    if not len(shared):
        return ""
    return (
        f"{shared.sum()} of {len(groups)} rows share {len(shared)} text{'s' * (len(shared) != 1)} (but for"
        f" case, white space and Unicode form): they stay in one fold{' each' * (len(shared) != 1)}."
    )


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())
