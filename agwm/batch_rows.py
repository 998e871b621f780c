"""Examples of a batch: their number, the first of them, and micro-batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor

from agwm.errors import DataError, HypergradientError

__all__ = ["first_rows", "mapped", "micro_batches", "num_examples"]


def _leaves(batch: Any) -> Iterator[Any]:
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, list | tuple):
        for value in batch:
            yield from _leaves(value)
    elif batch is not None:
        yield batch


def mapped(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a batch with its tensors changed; the given one is left as it is.

    A mapping comes back as a plain ``dict``, Hugging Face's ``BatchEncoding`` included.

    Args:
        batch: Mappings and sequences of tensors and anything else, to any depth.
        change: Makes the new tensor of an old one.
    """
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {key: mapped(value, change) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(mapped(value, change) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(mapped(value, change) for value in batch)
    return batch


def _count(batch: Any) -> tuple[int, str]:
    """Return the number of examples; 0, and what was found, where a batch cannot be cut."""
    found = [
        f"a tensor of shape {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else type(leaf).__name__
        for leaf in _leaves(batch)
        if not isinstance(leaf, Tensor) or leaf.dim() == 0
    ]
    rows = sorted({len(leaf) for leaf in _leaves(batch)}) if not found else []
    if len(rows) == 1:
        return rows[0], ""
    return 0, found[0] if found else f"first dimensions {', '.join(map(str, rows)) or 'of nothing'}"


def num_examples(batch: Any) -> int:
    """Return the number of examples in a batch: the length of its first tensor, 1 where there is none.

    Example:
        >>> import torch
        >>> num_examples({"input_ids": torch.zeros(3, 7)})
        3
    """
    lengths = (len(leaf) if leaf.dim() else 1 for leaf in _leaves(batch) if isinstance(leaf, Tensor))
    return next(lengths, 1)


def first_rows(batch: Any, fraction: float) -> Any:
    """Return the first ``ceil(fraction * rows)`` examples of a batch, as views of its tensors.

    Args:
        batch: A tensor, or mappings and sequences of tensors (or None) to any depth; the first
            dimension of each tensor counts the examples.
        fraction: In (0, 1]; at 1 the batch itself is returned, of any kind.

    Returns:
        The part, in the batch's own structure.

    Raises:
        HypergradientError: If the batch holds something else, or tensors of different length.
    """
    if fraction >= 1.0:
        return batch
    rows, got = _count(batch)
    if not rows:
        raise HypergradientError(
            "Cannot take a part of a batch: expected a mapping or sequence of tensors with one first"
            f" dimension, that of the examples, got {got}. Set hypergradient.batch_fraction to 1."
        )
    count = math.ceil(fraction * rows - 1e-9)  # 0.07 * 100 is a little above 7
    return mapped(batch, lambda tensor: tensor[:count])


def micro_batches(batch: Any, count: int) -> list[tuple[Any, float]]:
    """Cut a batch into micro-batches whose sizes differ by one example at most.

    Args:
        batch: As for :func:`first_rows`.
        count: Their number; a batch of fewer examples is cut into single ones. At 1 the batch itself is
            returned, of any kind.

    Returns:
        The micro-batches in order, as views, each with its share of the examples: a loss that is a mean
        over the examples of the batch is the sum of those of the micro-batches, times their shares.

    Raises:
        DataError: If the batch holds something else, or tensors of different length.

    Example:
        >>> import torch
        >>> [(part.tolist(), share) for part, share in micro_batches(torch.arange(4), 3)]
        [([0], 0.25), ([1], 0.25), ([2, 3], 0.5)]
    """
    if count == 1:
        return [(batch, 1.0)]
    rows, got = _count(batch)
    if not rows:
        raise DataError(
            "Cannot cut a batch into micro-batches: expected a mapping or sequence of tensors with one"
            f" first dimension, that of the examples, got {got}. Set gradient_accumulation to 1."
        )
    count = min(count, rows)
    bounds = [number * rows // count for number in range(count + 1)]
    return [
        (mapped(batch, lambda tensor, a=a, b=b: tensor[a:b]), (b - a) / rows)  # type: ignore[misc]
        for a, b in pairwise(bounds)
    ]
