"""The part that this process has of each global batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler, RandomSampler, Sampler

from agwm.processes import num_processes, process_number

__all__ = ["Part", "PartBatches", "part_of", "parted"]


class Part(list[int]):
    """Numbers of the examples of one process in a global batch.

    Attributes:
        share: What the mean over these examples is multiplied by, so that the average over the processes
            is the mean over the global batch.
    """

    share: float = 1.0


def part_of(batch: list[int], number: int, size: int) -> Part:
    """Return the part of a global batch that one of several processes has.

    Parts follow each other and differ by one example at most. A process for which none is left takes the
    first one, with share 0: all processes make as many passes.

    Args:
        batch: Numbers of the examples of the global batch.
        number: Number of the process.
        size: Number of processes.

    Example:
        >>> [(part_of([7, 8, 9], number, 2), part_of([7, 8, 9], number, 2).share) for number in (0, 1)]
        [([7], 0.6666666666666666), ([8, 9], 1.3333333333333333)]
    """
    own = batch[number * len(batch) // size : (number + 1) * len(batch) // size]
    part = Part(own or batch[:1])
    part.share = size * len(own) / len(batch)
    return part


class PartBatches(Sampler[list[int]]):
    """This process's part of each global batch.

    Args:
        sampler: Global batches: the same in all processes.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[int]]:
        """Give the parts of an epoch."""
        for batch in self.sampler:
            yield part_of(batch, process_number(), num_processes())


def parted(
    batches: Sampler[list[int]] | None, dataset: Any, batch_size: int, generator: torch.Generator
) -> PartBatches:
    """Return this process's parts of batches, or of batches in random order.

    Args:
        batches: Global batches; None: random ones.
        dataset: The examples.
        batch_size: Examples of a global batch.
        generator: Draws the orders, as a loader that shuffles does.
    """
    if batches is None:
        order = RandomSampler(dataset, generator=generator)
        return PartBatches(BatchSampler(order, batch_size, drop_last=False))
    return PartBatches(batches)
