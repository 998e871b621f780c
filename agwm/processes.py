"""Several processes on one global batch: sums, shares of a mean, and one start for all.

The loss is a mean over examples. A process has a part of the examples of a global batch, and its own mean
counts by the number of them: with n of N examples in one of P processes it is multiplied by ``P n / N``,
so that the average over the processes is the mean over all N.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from agwm.errors import ProcessError
from agwm.launch import started_processes
from agwm.peers import introduce, naming_lost
from agwm.rng import RngState, seed_everything
from agwm.shards import is_sharded, num_sharing

__all__ = [
    "average_",
    "average_gradients_",
    "broadcast_",
    "check_agreement",
    "check_alone",
    "check_joined",
    "check_shards",
    "check_unsharded",
    "gathered",
    "in_common",
    "num_processes",
    "part_ways",
    "process_number",
    "share_of",
]


_WRAPPERS = {
    "DistributedDataParallel": "Pass its attribute 'module'.",
    "DataParallel": "Pass its attribute 'module'.",
    "FullyShardedDataParallel": "Use fully_shard (FSDP2) in its place.",
}


def num_processes() -> int:
    """Return the number of processes, 1 where ``torch.distributed`` is not initialized."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_number() -> int:
    """Return the number (rank) of this process, counted from 0."""
    return dist.get_rank() if num_processes() > 1 else 0


def check_joined(started: Mapping[str, str] = os.environ) -> None:
    """Raise if several processes were started that do not know of each other: all would do all the work.

    Args:
        started: The environment, in which ``torchrun`` and ``accelerate launch`` tell their number.

    Raises:
        ProcessError: If ``torch.distributed`` is not initialized in one of several processes.
    """
    size = started_processes(started)
    if size > 1 and num_processes() == 1:
        raise ProcessError(
            f"Processes do not know of each other: expected torch.distributed to be initialized in all"
            f" {size} of them, got none. Call torch.distributed.init_process_group, or make an"
            " accelerate.Accelerator, before."
        )


def check_alone(what: str) -> None:
    """Raise in one of several processes.

    Args:
        what: The setting that several processes cannot have.

    Raises:
        ProcessError: If there are several.
    """
    if num_processes() > 1:
        raise ProcessError(
            f"{what} is for a run in one process: expected 1 process, got {num_processes()}. Leave it out,"
            " or run one process."
        )


def check_unsharded(parameters: Iterable[tuple[str, Tensor]], what: str, remedy: str) -> None:
    """Raise for weights of which a process has a part only, as ``fully_shard`` (FSDP2) leaves them.

    Args:
        parameters: Weights by name.
        what: What cannot be done with them.
        remedy: What to do.

    Raises:
        ProcessError: If one is a ``DTensor``.
    """
    for name, parameter in parameters:
        if is_sharded(parameter):
            raise ProcessError(
                f"Weights are sharded: expected whole ones in each process for {what}, got a DTensor in"
                f" {name!r}. {remedy}"
            )


def check_shards(model: nn.Module) -> None:
    """Raise for a model that somebody else spreads over processes, or over a part of them.

    Args:
        model: The model.

    Raises:
        ProcessError: If there is a wrapper of torch's in it, a weight of ZeRO's, or one that other
            processes share than those that share the examples: all.
    """
    for module in model.modules():
        name = type(module).__name__
        if name in _WRAPPERS:
            raise ProcessError(
                f"Model is wrapped by {name}: expected the model itself, as agwm shares the examples, got"
                f" the wrapper. {_WRAPPERS[name]}"
            )
    for name, parameter in model.named_parameters():
        if hasattr(parameter, "ds_id"):
            raise ProcessError(
                f"Weights are shared by DeepSpeed's ZeRO: expected whole ones, or those of fully_shard, got"
                f" {name!r} without values. Use fully_shard in place of ZeRO."
            )
        size = num_sharing(parameter) if is_sharded(parameter) else num_processes()
        if size != num_processes():
            raise ProcessError(
                f"Weights are shared by a part of the processes: expected all {num_processes()}, got"
                f" {size} for {name!r}. Call fully_shard with a mesh of all."
            )


def _sum_(tensor: Tensor, operation: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
    """Sum a tensor over all processes in place, and return it.

    Raises:
        ProcessError: If another process is gone; names it.
    """
    with naming_lost():
        dist.all_reduce(tensor, operation)
    return tensor


def gathered(value: Any) -> list[Any]:
    """Return a value of each process, in the order of their numbers.

    Raises:
        ProcessError: If another process is gone; names it.
    """
    found = [value] * num_processes()
    if len(found) > 1:
        with naming_lost():
            dist.all_gather_object(found, value)
    return found


def average_(tensors: list[Tensor]) -> list[Tensor]:
    """Average each tensor over all processes in place, and return them.

    A sharded one is left as it is: its part is the average already.
    """
    size = num_processes()
    if size > 1:
        for tensor in tensors:
            if not is_sharded(tensor):
                _sum_(tensor).div_(size)
    return tensors


@torch.no_grad()
def average_gradients_(parameters: Sequence[Tensor]) -> None:
    """Average ``.grad`` over all processes.

    A parameter that only some processes used counts as zero in the others; one that none used keeps
    no gradient, so that the optimizer leaves it alone as it would in one process. Sharded parameters have
    averages already, from the backward pass.
    """
    parameters = [parameter for parameter in parameters if not is_sharded(parameter)]
    if num_processes() == 1 or not parameters:
        return
    used = torch.tensor(
        [p.grad is not None for p in parameters], dtype=torch.float32, device=parameters[0].device
    )
    for parameter, count in zip(parameters, _sum_(used).tolist(), strict=True):
        if count and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    average_([p.grad for p in parameters if p.grad is not None])


def share_of(num_examples: int, device: torch.device | str) -> float | None:
    """Return what the mean over the examples of one of several processes is multiplied by, ``P n / N``.

    Args:
        num_examples: n, examples of this process; 0: it has none left.
        device: Where numbers are exchanged: the model's.

    Returns:
        The factor; None if no process has an example.
    """
    size = num_processes()
    total = int(_sum_(torch.tensor(num_examples, device=device)))
    return size * num_examples / total if total else None


@torch.no_grad()
def broadcast_(tensors: Iterable[Tensor]) -> None:
    """Give every process the tensors of the first; sharded ones are one tensor already."""
    if num_processes() > 1:
        introduce()
        for tensor in tensors:
            if not is_sharded(tensor):
                dist.broadcast(tensor.data, 0)


def part_ways(seed: int) -> None:
    """Let the random draws of the processes differ from now on: no two have the same dropout masks.

    Args:
        seed: Seed of the run. The first process keeps its random state.
    """
    number = process_number()
    if number:
        seed_everything(int(np.random.SeedSequence([seed % 2**32, number]).generate_state(1)[0]))


@contextmanager
def in_common(seed: int, step: int, stream: int, device: torch.device) -> Iterator[None]:
    """Let several processes draw the same in the body; in one process it changes nothing.

    Args:
        seed: Seed of the run.
        step: Number of the step: each has draws of its own.
        stream: Number of the draws in a step, from 1: each has its own.
        device: The model's device.
    """
    if num_processes() == 1:
        yield
        return
    state = RngState.capture(device)
    seed_everything(int(np.random.SeedSequence([seed % 2**32, step, stream]).generate_state(1)[0]))
    try:
        yield
    finally:
        state.restore()


@torch.no_grad()
def check_agreement(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise unless all processes have the same tensors.

    Args:
        tensors: The tensors by name; sharded ones, which differ, are left out.
        where: End of the sentence "... differs between processes", for the message.

    Raises:
        ProcessError: If one differs; names the first.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if not is_sharded(tensor)}
    if num_processes() == 1 or not tensors:
        return
    sums = torch.stack([tensor.double().sum() for tensor in tensors.values()])
    least, most = _sum_(sums.clone(), dist.ReduceOp.MIN), _sum_(sums, dist.ReduceOp.MAX)
    for name, differs in zip(tensors, (least != most).tolist(), strict=True):
        if differs:
            raise ProcessError(
                f"Weight {name!r} differs between processes{where}: expected the same in all"
                f" {num_processes()}, got others. Draw nothing at random in a hook that changes weights or"
                " gradients, or train in one process."
            )
