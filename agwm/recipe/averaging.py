"""The average of the K searches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from agwm.shards import own_part

__all__ = ["Mean", "averaged"]


def averaged(model: nn.Module) -> list[Tensor]:
    """Return the tensors of a model that are averaged over searches: parameters, and buffers of floats.

    The means of running statistics are the best guess for the mean of the weights; the final stage moves
    them on. Other buffers, such as counters, stay as the last search left them.
    """
    parameters = [own_part(parameter.detach()) for parameter in model.parameters()]
    return [*parameters, *(b for b in model.buffers() if b.is_floating_point())]


class Mean:
    """Mean of lists of tensors, one after the other; numbers that are equal in all stay to the bit."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[Tensor] = []
        self._total: list[Tensor] = []
        self._differs: list[Tensor] = []

    @torch.no_grad()
    def add(self, tensors: Iterable[Tensor]) -> None:
        """Take a list into the mean."""
        values = [tensor.detach() for tensor in tensors]
        self._count += 1
        if self._count == 1:
            self._first = self._total = [value.clone() for value in values]
            return
        if not self._differs:
            self._differs = [torch.zeros_like(value, dtype=torch.bool) for value in values]
        self._total = [total + value for total, value in zip(self._total, values, strict=True)]
        for mask, value, first in zip(self._differs, values, self._first, strict=True):
            mask |= value != first

    @torch.no_grad()
    def write(self, tensors: Iterable[Tensor]) -> None:
        """Write the mean into tensors. The sum of K equal numbers, divided by K, may round: they stay."""
        for number, (tensor, first) in enumerate(zip(tensors, self._first, strict=True)):
            if self._differs:
                mean = self._total[number] / self._count
                first = torch.where(self._differs[number], mean, first)
            tensor.copy_(first)
