"""Write the rows of the four embedded tasks, without any network."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Annotated

from agwm.checks import Interval, check_choice, check_value
from agwm.data.embedded.acceptability import draw_acceptability
from agwm.data.embedded.pairs import draw_entailment, draw_paraphrase
from agwm.data.embedded.similarity import draw_similarity
from agwm.errors import DataError

__all__ = ["EMBEDDED_GENERATORS", "embedded_rows"]

_Row = tuple[tuple[str, ...], float]

EMBEDDED_GENERATORS: dict[str, Callable[[random.Random], _Row]] = {
    "acceptability": draw_acceptability,
    "paraphrase": draw_paraphrase,
    "entailment": draw_entailment,
    "similarity": draw_similarity,
}

_LARGEST = 50_000


def _draw_unique(rng: random.Random, name: str, count: int, seen: set[tuple[str, ...]]) -> list[_Row]:
    rows: list[_Row] = []
    while len(rows) < count:
        texts, label = EMBEDDED_GENERATORS[name](rng)
        # The same two sentences in either order are one example.
        key = tuple(sorted(texts))
        if key not in seen:
            seen.add(key)
            rows.append((texts, label))
    return rows


def embedded_rows(
    name: str, train_size: int = 2000, test_size: int = 500, seed: int = 0
) -> tuple[list[_Row], list[_Row]]:
    """Write the train and the test rows of an embedded task.

    The rows depend on the arguments alone, not on global random state, hash seed or platform.
    The test rows do not depend on ``train_size``, so you can compare the scores of runs with
    different amounts of training data. No example appears twice, within a part or across both.

    Args:
        name: One of ``EMBEDDED_GENERATORS``.
        train_size: Number of training examples.
        test_size: Number of test examples.
        seed: Seed of the data. All documented numbers use the default.

    Returns:
        Train rows and test rows, each a pair (texts, label).

    Raises:
        DataError: If the name is unknown, a size is not in [1, 50000] or the seed is negative.
    """
    check_choice("embedded task", name, EMBEDDED_GENERATORS, error=DataError)
    size = Annotated[int, Interval(1, _LARGEST)]
    check_value(f"train_size of the embedded task {name!r}", size, train_size, error=DataError)
    check_value(f"test_size of the embedded task {name!r}", size, test_size, error=DataError)
    check_value("seed of the embedded data", Annotated[int, Interval(0, 2**64 - 1)], seed, error=DataError)
    seen: set[tuple[str, ...]] = set()
    # Python hashes string seeds with SHA-512. No interpreter setting changes that.
    test = _draw_unique(random.Random(f"agwm/{name}/test/{seed}"), name, test_size, seen)
    train = _draw_unique(random.Random(f"agwm/{name}/train/{seed}"), name, train_size, seen)
    return train, test
