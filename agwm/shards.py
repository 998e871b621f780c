"""Tensors of which each process has a part: the weights that ``fully_shard`` (FSDP2) leaves.

Such a tensor is a ``DTensor``. What gathers one, or adds one up, exchanges with the other processes: all of
them call it, in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

__all__ = [
    "any_sharded",
    "gathered_state",
    "is_sharded",
    "layout",
    "mean_part",
    "num_sharing",
    "own_part",
    "part_like",
    "reshard_",
    "sharding",
    "sum_of_parts",
    "whole",
]


def is_sharded(tensor: Any) -> bool:
    """Return whether this process has a part of a tensor only."""
    return hasattr(tensor, "placements")


def any_sharded(tensors: Iterable[Any]) -> bool:
    """Return whether one of some tensors is sharded."""
    return any(map(is_sharded, tensors))


def reshard_(model: nn.Module) -> None:
    """Let a model hold parts of weights alone, but while a pass is inside of a module.

    By default ``fully_shard`` leaves those of the outermost module gathered from a forward pass to its
    backward pass, or for ever where there is none: who asks the model for its parameters would be given
    the gathered ones, and what is written into them is lost.

    Args:
        model: A model; one that is not sharded is left alone.
    """
    sharded: list[Any] = [m for m in model.modules() if hasattr(m, "set_reshard_after_forward")]
    for module in sharded:
        module.set_reshard_after_forward(True, recurse=False)
        module.reshard()


def num_sharing(tensor: Tensor) -> int:
    """Return the number of processes that share a sharded tensor."""
    return tensor.device_mesh.size()  # type: ignore[attr-defined]


def layout(tensor: Tensor) -> str:
    """Return in words how a tensor is spread, and over which processes; of a whole one ``"whole"``."""
    if not is_sharded(tensor):
        return "whole"
    places = ", ".join(map(repr, tensor.placements))  # type: ignore[attr-defined]
    return f"{places} over {tensor.device_mesh.mesh.tolist()}"  # type: ignore[attr-defined]


def sharding(model: nn.Module) -> str:
    """Return in words how the weights of a model are spread, and which modules gather them together."""
    counts = Counter(layout(parameter) for parameter in model.parameters())
    if set(counts) <= {"whole"}:
        return "whole"
    named = model.named_modules()
    names = [name or "the model" for name, m in named if hasattr(m, "set_reshard_after_forward")]
    weights = ", ".join(f"{count} by {how}" for how, count in sorted(counts.items()))
    return f"{weights}; gathered by {', '.join(names)}"


def own_part(tensor: Tensor) -> Tensor:
    """Return the part of this process, in the memory of the tensor; a whole tensor as it is."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor in full, gathered from all processes; a whole one as it is. Without graph."""
    return tensor.detach().full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def part_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a tensor that all processes have, sharded as ``like`` is.

    Args:
        tensor: The tensor in full, the same in all processes.
        like: A sharded tensor of the same shape; a whole one: the tensor is returned as it is.
    """
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor  # only here: it takes a second to import

    return distribute_tensor(tensor, like.device_mesh, like.placements)  # type: ignore[attr-defined]


def gathered_state(model: nn.Module) -> dict[str, Tensor] | None:
    """Return the state of a model with all tensors in full; None where none is sharded.

    Args:
        model: The model; all processes call this.
    """
    if not any_sharded(model.parameters()):
        return None
    state = model.state_dict(keep_vars=True)
    full = {id(tensor): whole(tensor).detach() for tensor in state.values()}  # of a tie once
    return {name: full[id(tensor)] for name, tensor in state.items()}


def mean_part(tensor: Tensor, like: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes, sharded as ``like`` is.

    Args:
        tensor: A tensor in full, another one in each process.
        like: A sharded tensor of the same shape.
    """
    from torch.distributed.tensor import DTensor, Partial

    mesh = like.device_mesh  # type: ignore[attr-defined]
    parts = DTensor.from_local(tensor / mesh.size(), mesh, [Partial()] * mesh.ndim, run_check=False)
    return parts.redistribute(mesh, like.placements)  # type: ignore[attr-defined]


def sum_of_parts(number: Tensor, like: Tensor | None) -> Tensor:
    """Return a number added up over the processes that share a tensor.

    Args:
        number: A sum over the part of this process.
        like: The sharded tensor that it was summed over; None: a whole one, and the sum is complete.
    """
    if like is None:
        return number
    from torch.distributed.tensor import DTensor, Partial, Shard

    mesh, places = like.device_mesh, like.placements  # type: ignore[attr-defined]
    parts = [Partial() if isinstance(place, Shard) else place for place in places]
    return DTensor.from_local(number, mesh, parts, run_check=False).full_tensor()
