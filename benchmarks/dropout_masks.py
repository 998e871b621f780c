"""Record the dropout masks of a pass, and make a pass again in them, whatever its precision or device.

A random state gives other masks in float64 than in float32, and others on a graphics card.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from agwm.rng import RngState, replay
from benchmarks.models import Machine
from benchmarks.oracles import Draw, Loss, Weights

__all__ = ["Pass", "apply_masks", "check_loss", "record_masks"]


@dataclass(frozen=True)
class Pass:
    """A forward pass that was made: its batch, the random state before it, and its loss."""

    batch: dict[str, Tensor]
    state: RngState
    loss: float


class _Record(TorchFunctionMode):
    """Draw each dropout mask as it would be drawn, and keep it."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not nn.functional.dropout:
            return func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():
            drawn = func(torch.ones_like(args[0]), *args[1:], **{**(kwargs or {}), "inplace": False})
        self.masks.append(drawn != 0)
        return args[0] * drawn


class _Apply(TorchFunctionMode):
    """Give each dropout the next of the recorded masks; None: drop nothing."""

    def __init__(self, masks: Iterable[Tensor] | None, dropout: float) -> None:
        super().__init__()
        self.masks, self.kept = None if masks is None else iter(masks), 1.0 - dropout

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not nn.functional.dropout:
            return func(*args, **(kwargs or {}))
        return args[0] if self.masks is None else args[0] * next(self.masks) / self.kept


@torch.no_grad()
def record_masks(model: nn.Module, made: Pass, machine: Machine) -> list[Tensor]:
    """Make a forward pass again, in the precision it was made in, and return its dropout masks.

    Args:
        model: The model that made it, with attention in plain tensor operations.
        made: The pass.
        machine: Gives the precision.
    """
    with replay(made.state), machine.autocast(), _Record() as record:
        model(**made.batch)
    return record.masks


def apply_masks(masks: Iterable[Tensor] | None, dropout: float) -> AbstractContextManager[Any]:
    """Return the context in which every dropout of a model takes the next recorded mask.

    Args:
        masks: What :func:`record_masks` returned; None: nothing is dropped, as in evaluation mode.
        dropout: Probability, the same of every dropout.
    """
    return _Apply(masks, dropout)


def check_loss(
    loss: Loss, weights: Weights, alpha: Weights, draw: Draw, within: float, made: float
) -> None:
    """Raise unless a pass that is made again has the loss that it had.

    Args:
        loss: What ``mixed_loss`` returned.
        weights: W at the pass.
        alpha: The attention parameters at the pass.
        draw: The pass.
        within: Relative difference that rounding may make.
        made: The loss that it had.

    Raises:
        RuntimeError: If the loss is another.
    """
    with torch.no_grad():
        found = float(loss(weights, alpha, draw))
    if abs(found - made) > within * abs(made):
        raise RuntimeError(f"The masks are not those of the step: expected loss {made}, got {found}.")
