"""The inner and the outer split of each search, and what looks like a mistake in them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import datasets

from agwm.data.sampling import split_train
from agwm.errors import SplitError
from agwm.recipe.config import FinetuneConfig, SearchConfig
from agwm.search.wiring import DOUBTFUL, never_learned

__all__ = ["DOUBTFUL", "draw_split", "num_search_steps", "search_doubts"]


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
        labels = _strata(dataset)
    return split_train(labels, search.outer_fraction, seed=config.seed + k, stratified=search.stratified)


def _strata(dataset: Sequence[Any]) -> list[int] | list[float] | list[str]:
    """Return the class or score of each example; of several labels an example the set that it has.

    Raises:
        SplitError: If an example has none.
    """
    try:
        found = [_plain(row["labels"]) for row in dataset]
        if found and isinstance(found[0], (list, tuple)):
            return [" ".join(str(int(label)) for label in row) for row in found]
        labels = [float(label) for label in found]
    except (KeyError, TypeError, ValueError):
        raise SplitError(
            "Cannot stratify: expected examples with a number under 'labels', got others."
            " Set search.stratified to false."
        ) from None
    return [int(label) for label in labels] if all(label.is_integer() for label in labels) else labels


def num_search_steps(search: SearchConfig, num_inner: int) -> int:
    """Return the number of inner steps of a search on so many examples of the inner split."""
    return search.epochs * -(-num_inner // search.batch_size)


def search_doubts(
    dataset: Sequence[Any], config: FinetuneConfig, class_names: Sequence[str] | None = None
) -> list[str]:
    """Return one line for everything doubtful in the splits of a search, which draws the same ones.

    Only rows that lie in memory are looked at: reading others may cost, or draw random numbers.

    Args:
        dataset: Encoded examples: mappings with ``labels``.
        config: The settings, with the seed.
        class_names: Names of the classes, in index order; None: their numbers are named.
    """
    search = config.search
    if not config.mixing.learns_alpha or search.attention_learning_rate == 0:
        return []
    inner, outer = draw_split(dataset, config, 0)
    lines, steps = [], num_search_steps(search, len(inner))
    if search.unroll_steps > steps:
        lines.append(never_learned(search.unroll_steps, steps))
    # half an outer split more is rounding: five splits of a fifth each are usual
    if search.num_resplits * len(outer) > len(dataset) + len(outer) / 2 or len(outer) < search.num_resplits:
        lines.append(
            f"search.num_resplits is {search.num_resplits}, with {len(outer)} outer examples of"
            f" {len(dataset)} each: the searches are on nearly the same examples."
        )
    if not isinstance(dataset, list | tuple | datasets.Dataset):
        return lines
    rows = [row if isinstance(row, Mapping) else {} for row in dataset]
    texts, labels = [_key(row) for row in rows], [_class(row.get("labels")) for row in rows]
    shared, single = 0, []
    for k in range(search.num_resplits):
        inner, outer = draw_split(dataset, config, k) if k else (inner, outer)
        both = {texts[i] for i in inner} & {texts[i] for i in outer} - {None}
        shared = max(shared, len(both))
        if len(found := {labels[i] for i in outer}) == 1 and found != {None}:
            single.append((k + 1, len(outer), found.pop()))
    if shared:
        lines.append(
            "the same texts are in the inner and in the outer split of a search (at most"
            f" {shared}): the outer loss is not held out."
        )
    if single:
        k, size, label = single[0]
        name = repr(class_names[label]) if class_names is not None and label is not None else label
        count = f"{size} example{'' if size == 1 else 's'}"
        lines.append(
            f"the outer split of search {k} has {count}, all of class {name}: alpha is learned on one"
            " answer."
        )
    return lines


def _key(row: Mapping[str, Any]) -> Hashable | None:
    """Return what tells the inputs of a row from those of another; None where that cannot be had."""
    try:
        key = [(name, _plain(row[name])) for name in sorted(row) if name not in ("labels", "label")]
    except (TypeError, ValueError):
        return None
    return repr(key) if key else None


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _class(label: Any) -> int | None:
    """Return the number of a class; None for scores, and for labels of every token."""
    label = _plain(label)
    return label if isinstance(label, int) else None
