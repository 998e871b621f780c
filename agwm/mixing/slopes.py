"""Gradients by the mixed weights, noted while a pass goes backward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from torch import Tensor

from agwm.mixing.mixed_weight import MixedWeight
from agwm.shards import is_sharded, mean_part

__all__ = ["noting"]


@contextmanager
def noting(weights: Mapping[str, MixedWeight], slopes: dict[str, Tensor]) -> Iterator[None]:
    """Context manager: let backward add the gradient by each mixed weight to ``slopes``, by name.

    It is that of the passes whose forward, or recomputed forward, runs in the body.

    Args:
        weights: The mixed weights by name.
        slopes: Where the gradients go.
    """
    for name, weight in weights.items():
        weight.note = partial(_add, slopes, name, weight.pretrained)
    try:
        yield
    finally:
        for weight in weights.values():
            weight.note = None


def _add(sums: dict[str, Tensor], name: str, pretrained: Tensor, gradient: Tensor) -> None:
    gradient = gradient.detach()
    if is_sharded(pretrained):
        gradient = mean_part(gradient, pretrained)
    sums[name] = sums[name] + gradient if name in sums else gradient
