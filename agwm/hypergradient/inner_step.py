"""Record the inner step that the next hypergradient differentiates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from agwm.errors import HypergradientError
from agwm.hypergradient.optimizers import InnerStep, optimizer_kind
from agwm.hypergradient.pass_state import PassState
from agwm.shards import own_part

__all__ = ["StepTrace", "dense", "filled", "inner_step", "owned"]


@dataclass
class StepTrace:
    """Record of an inner step.

    Attributes:
        batches: Its micro-batches by their number, each with the state before its forward pass.
        weights: W before the step, where the mixed derivative is taken there.
        step: The optimizer's step; None before it, and after the hypergradient was taken.
        upper_gradients: Gradient of the inner loss by each upper parameter, from the inner backward
            itself, by the parameter's ``id``; empty where it was not asked for.
        is_skipped: True if gradient scaling met an overflow and left W unchanged.
        count: Number of the micro-batch that completed the step.
        difference: The finite difference that is being taken; None: none is.
        is_flat: True if the step has next to no derivative, as Adam's first one.
        slopes: W -> G, the gradient by the weights that the model computed with; for explicit parts.
        carried: W -> what the earlier steps of the window did to it, taken through this step.
    """

    batches: dict[int, tuple[Any, PassState]] = field(default_factory=dict)
    weights: list[Tensor] | None = None
    step: InnerStep | None = None
    upper_gradients: dict[int, Tensor] = field(default_factory=dict)
    is_skipped: bool = False
    count: int = 0
    difference: Any = None
    is_flat: bool = False
    slopes: dict[Tensor, Tensor] = field(default_factory=dict)
    carried: dict[Tensor, Tensor] = field(default_factory=dict)


def filled(gradients: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    """Put zeros where there is no gradient."""
    return [
        torch.zeros_like(tensor) if gradient is None else gradient
        for gradient, tensor in zip(gradients, like, strict=True)
    ]


def dense(
    gradients: Sequence[Tensor | None], parameters: Sequence[Tensor], module: nn.Module
) -> Sequence[Tensor | None]:
    """Return the gradients, none of which may be sparse.

    Raises:
        HypergradientError: If one is; names its parameter.
    """
    for gradient, parameter in zip(gradients, parameters, strict=True):
        if gradient is not None and gradient.layout != torch.strided:
            names = [name for name, own in module.named_parameters() if own is parameter]
            raise HypergradientError(
                f"Gradient of {names[0] if names else 'a parameter'!r} is unusable: expected a dense"
                f" tensor, got {gradient.layout}. Build the embedding with sparse=False."
            )
    return gradients


def owned(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Clone gradients that share memory, so that each can be changed in place.

    ``autograd.grad`` may return one tensor for two inputs, or a number expanded to a shape.
    """
    seen: set[int] = set()
    result = []
    for gradient in gradients:
        if gradient is not None:
            part = own_part(gradient)
            is_expanded = any(s == 0 and n > 1 for s, n in zip(part.stride(), part.shape, strict=True))
            if part.numel() and (is_expanded or part.data_ptr() in seen):
                gradient = gradient.clone(memory_format=torch.contiguous_format)
            seen.add(own_part(gradient).data_ptr())
        result.append(gradient)
    return result


def _kept(value: Any) -> Any:
    """Copy a setting: a scheduler may change a tensor or a list in place before it is read."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, list | tuple):
        return type(value)(map(_kept, value))
    return value


def inner_step(
    optimizer: torch.optim.Optimizer,
    weights: Sequence[torch.nn.Parameter],
    before: list[Tensor] | None,
    total_norm: float,
    max_norm: float,
) -> InnerStep:
    """Describe the step that an optimizer is about to take.

    Args:
        optimizer: The inner optimizer; gradients are in ``.grad``, clipped already.
        weights: W: all that the optimizer steps or clipping counts.
        before: W before the step, where it is kept.
        total_norm: Norm of all gradients before clipping; 0.0 where there is no clipping.
        max_norm: Clipping threshold; 0.0 where there is none.

    Returns:
        The step; the states of Adam are to be taken after it (``InnerStep.take_states``).
    """
    groups = {}
    for group in optimizer.param_groups:
        settings = {key: _kept(value) for key, value in group.items() if key != "params"}
        groups.update({id(p): settings for p in group["params"]})
    kind = optimizer_kind(optimizer)
    states = [optimizer.state[w] if w in optimizer.state else {} for w in weights]
    if kind == "SGD":
        states = [{"is_first": state.get("momentum_buffer") is None} for state in states]
    return InnerStep(
        gradients=[w.grad for w in weights],
        groups=[groups.get(id(w)) for w in weights],
        states=states,
        kind=kind,
        total_norm=total_norm,
        max_norm=max_norm,
        weights=[] if before is None else before,
    )
