"""The inner and the outer split of each search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agwm.batches import Split
from agwm.data.sampling import split_train
from agwm.errors import ConfigError, DataError, SplitError
from agwm.recipe.config import FinetuneConfig, SearchConfig

__all__ = ["check_outer", "draw_parts", "draw_split", "num_search_steps", "plain_value"]

_OF_SPLITTING = ("outer_fraction", "stratified")  # settings of the search


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


def draw_parts(
    dataset: Sequence[Any], config: FinetuneConfig, k: int, outer_dataset: Sequence[Any] | None = None
) -> tuple[Split, Split]:
    """Return the inner and the outer examples of a search: a random split, or two data sets as they are.

    Args:
        dataset: Encoded examples.
        config: The settings, with the seed.
        k: Number of the search, from 0.
        outer_dataset: Examples of the outer split; None: a part of ``dataset``.

    Raises:
        SplitError: If the examples cannot be split, or have no labels for a stratified split.
    """
    whole: Any = dataset
    if outer_dataset is not None:
        other: Any = outer_dataset
        return Split(whole, range(len(whole))), Split(other, range(len(other)))
    inner, outer = draw_split(dataset, config, k)
    return Split(whole, inner), Split(whole, outer)


def check_outer(dataset: Sequence[Any], outer_dataset: Sequence[Any], search: SearchConfig) -> None:
    """Raise unless a data set can be the outer split of another.

    Raises:
        ConfigError: If a setting of the split is given, which has no effect.
        DataError: If it has no example.
        SplitError: If it is the training set itself.
    """
    for name in _OF_SPLITTING:
        value, usual = getattr(search, name), getattr(SearchConfig(), name)
        if value != usual:
            raise ConfigError(
                f"search.{name} has no effect with outer_dataset: expected it to be left out, as nothing is"
                f" split, got {value}. Remove one of the two."
            )
    if outer_dataset is dataset:
        raise SplitError(
            "Outer data are not held out: expected other examples than those of train_dataset, got the same"
            " data set twice. Leave outer_dataset out to split it."
        )
    if len(outer_dataset) == 0:
        raise DataError(
            "No outer examples: expected at least one in outer_dataset, got none. Leave it out to split"
            " train_dataset."
        )


def _strata(dataset: Sequence[Any]) -> list[int] | list[float] | list[str]:
    """Return the class or score of each example; of several labels an example the set that it has.

    Raises:
        SplitError: If an example has none.
    """
    try:
        found = [plain_value(row["labels"]) for row in dataset]
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


def plain_value(value: Any) -> Any:
    """Return a tensor or an array as lists and numbers, and anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value
