"""The inner and the outer split of each search, and what looks like a mistake in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agwm.data.sampling import split_train
from agwm.errors import SplitError
from agwm.recipe.config import FinetuneConfig, SearchConfig

__all__ = ["draw_split", "num_search_steps", "search_doubts"]


def draw_split(dataset: Sequence[Any], config: FinetuneConfig, k: int) -> tuple[list[int], list[int]]:
    """Draw the inner and the outer split of a search.

    Args:
        dataset: Encoded examples.
        config: The settings, with the seed.
        k: Number of the search, from 0.

    Raises:
        SplitError: If the examples cannot be split, or have no labels for a stratified split.
    """
    search = config.search
    labels: Any = len(dataset)
    if search.stratified:
        try:
            labels = [float(row["labels"]) for row in dataset]
        except (KeyError, TypeError, ValueError):
            raise SplitError(
                "Cannot stratify: expected examples with a number under 'labels', got others."
                " Set search.stratified to false."
            ) from None
        if all(label.is_integer() for label in labels):
            labels = [int(label) for label in labels]
    return split_train(labels, search.outer_fraction, seed=config.seed + k, stratified=search.stratified)


def num_search_steps(search: SearchConfig, num_inner: int) -> int:
    """Return the number of inner steps of a search on so many examples of the inner split."""
    return search.epochs * -(-num_inner // search.batch_size)


def search_doubts(
    dataset: Sequence[Any],
    config: FinetuneConfig,
    class_names: Sequence[str] | None,
) -> list[str]:
    """Return one line for everything doubtful in the splits of a search, which draws the same ones.

    Args:
        dataset: Encoded examples, with ``input_ids`` and ``labels``.
        config: The settings, with the seed.
        class_names: Names of the classes; None for regression.
    """
    search, rows = config.search, list(dataset)
    keys = [tuple(row["input_ids"]) for row in rows]
    labels = [row["labels"] for row in rows]
    splits = [draw_split(dataset, config, k) for k in range(search.num_resplits)]
    inner, outer = splits[0]
    lines = []
    steps = num_search_steps(search, len(inner))
    if search.unroll_steps > steps:
        lines.append(
            f"search.unroll_steps is {search.unroll_steps}, but a search has {steps} steps: alpha is never"
            " learned."
        )
    shared = [len({keys[i] for i in inner} & {keys[i] for i in outer}) for inner, outer in splits]
    if any(shared):
        lines.append(
            "the same texts are in the inner and in the outer split of a search (at most"
            f" {max(shared)}): the outer loss is not held out."
        )
    if class_names is not None:
        for k, (_, outer) in enumerate(splits, 1):
            found = {labels[i] for i in outer}
            if len(found) == 1:
                lines.append(
                    f"the outer split of search {k} has {len(outer)} examples, all of class"
                    f" {class_names[found.pop()]!r}: alpha is learned on one answer."
                )
    if search.num_resplits * len(outer) > len(rows) or len(outer) < search.num_resplits:
        lines.append(
            f"search.num_resplits is {search.num_resplits}, with {len(outer)} outer examples of {len(rows)}"
            " each: the searches are on nearly the same examples."
        )
    return lines
