"""Several processes: averages of gradients, and one start for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["average_", "average_gradients_", "broadcast_", "num_processes"]


def num_processes() -> int:
    """Return the number of processes, 1 where ``torch.distributed`` is not initialized."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def average_(tensors: list[Tensor]) -> list[Tensor]:
    """Average each tensor over all processes in place, and return them."""
    size = num_processes()
    if size > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor.div_(size)
    return tensors


@torch.no_grad()
def average_gradients_(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Average ``.grad`` over all processes.

    A parameter that only some processes used counts as zero in the others; one that none used keeps
    no gradient, so that the optimizer leaves it alone as it would in one process.
    """
    if num_processes() == 1 or not parameters:
        return
    used = torch.tensor(
        [p.grad is not None for p in parameters], dtype=torch.float32, device=parameters[0].device
    )
    dist.all_reduce(used)
    for parameter, count in zip(parameters, used.tolist(), strict=True):
        if count and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    average_([p.grad for p in parameters if p.grad is not None])


@torch.no_grad()
def broadcast_(tensors: Iterable[Tensor]) -> None:
    """Give every process the tensors of the first."""
    if num_processes() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.data, 0)
