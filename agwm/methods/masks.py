"""Masks of weights: find the entries with the highest scores, and let a step move only those."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Masks", "count_of", "has_finite_gradients", "largest"]

# Bit patterns of non-negative floats, read as integers, have the same order as the floats.
_BITS = {torch.float32: (torch.int32, 31), torch.float64: (torch.int64, 63)}


def count_of(fraction: float, num: int) -> int:
    """Return ``fraction * num`` rounded up, at most ``num``. Rounding errors do not raise the count."""
    return min(num, math.ceil(fraction * num - 1e-6))


def largest(scores: Sequence[Tensor], count: int) -> list[Tensor]:
    """Return masks of the largest entries of several tensors, taken together.

    The masks mark exactly ``count`` entries. Among equal entries the first ones win. Bisection over bit
    patterns finds the threshold, so the function neither sorts nor joins the scores.

    Args:
        scores: Non-negative finite numbers, any shapes, float32 or float64, on one device.
        count: Number of entries to mark, at most the number of all entries.

    Returns:
        Tensors of bool in the shapes of ``scores``.
    """
    if count <= 0:
        return [torch.zeros_like(score, dtype=torch.bool) for score in scores]
    integer, num_bits = _BITS[scores[0].dtype]
    # adding zero turns -0.0, whose pattern is negative, into 0.0
    patterns = [(score.detach() + 0.0).contiguous().view(integer) for score in scores]
    threshold = torch.zeros((), dtype=integer, device=scores[0].device)
    for bit in reversed(range(num_bits)):
        higher = threshold + (1 << bit)
        num = torch.stack([(pattern >= higher).sum() for pattern in patterns]).sum()
        threshold = torch.where(num >= count, higher, threshold)
    masks = [pattern > threshold for pattern in patterns]
    missing = count - int(sum(mask.sum() for mask in masks))
    for mask, pattern in zip(masks, patterns, strict=True):
        if missing <= 0:
            break
        ties = (pattern == threshold).flatten().nonzero().flatten()[:missing]
        mask.view(-1)[ties] = True
        missing -= len(ties)
    return masks


def has_finite_gradients(model: nn.Module) -> bool:
    """True if every gradient is finite. An overflow of scaled fp16 losses leaves NaN or infinity."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norms = torch._foreach_norm(gradients, math.inf)
    return bool(torch.isfinite(torch.stack(list(norms))).all())


class Masks:
    """Masks of parameters: True where an optimizer step may move an entry.

    Attributes:
        pairs: Pairs of a parameter and its mask, a bool tensor of the same shape.
    """

    def __init__(self, pairs: Sequence[tuple[nn.Parameter, Tensor]] = ()) -> None:
        self.pairs = list(pairs)
        self._held: list[Tensor] = []

    def mask_gradients(self, factor: float = 1.0) -> None:
        """Multiply gradients in place by their masks and by a factor."""
        for parameter, mask in self.pairs:
            if parameter.grad is not None:
                parameter.grad.mul_(mask)
                if factor != 1.0:
                    parameter.grad.mul_(factor)

    def hold(self) -> None:
        """Remember the weights, right before the optimizer's step."""
        self._held = [parameter.detach().clone() for parameter, _ in self.pairs]

    @torch.no_grad()
    def put_back(self) -> None:
        """Restore masked entries, which momentum and decoupled weight decay have moved in the step."""
        for (parameter, mask), held in zip(self.pairs, self._held, strict=True):
            parameter.copy_(torch.where(mask, parameter, held))
        self._held = []
