"""The inner step that the next hypergradient differentiates, as it happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from agwm.best_response import InnerStep, optimizer_kind
from agwm.rng import RngState

__all__ = ["Recording", "filled", "inner_step", "owned"]


@dataclass
class Recording:
    """What is kept of an inner step.

    Attributes:
        batches: Its micro-batches, each with the random state before its forward pass.
        weights: W before the step, where the mixed derivative is taken there.
        step: What the optimizer did; None until it stepped, and after the hypergradient was taken.
        upper_gradients: Gradient of the inner loss by each upper parameter, from the inner backward
            itself, by the parameter's ``id``; empty where it was not asked for.
    """

    batches: list[tuple[Any, RngState]] = field(default_factory=list)
    weights: list[Tensor] | None = None
    step: InnerStep | None = None
    upper_gradients: dict[int, Tensor] = field(default_factory=dict)


def filled(gradients: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    """Put zeros where there is no gradient."""
    return [
        torch.zeros_like(tensor) if gradient is None else gradient
        for gradient, tensor in zip(gradients, like, strict=True)
    ]


def owned(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Clone gradients that share memory, so that each can be changed in place.

    ``autograd.grad`` may return one tensor for two inputs, or a number expanded to a shape.
    """
    seen: set[int] = set()
    result = []
    for gradient in gradients:
        if gradient is not None:
            is_expanded = any(
                s == 0 and n > 1 for s, n in zip(gradient.stride(), gradient.shape, strict=True)
            )
            if is_expanded or gradient.data_ptr() in seen:
                gradient = gradient.clone(memory_format=torch.contiguous_format)
            seen.add(gradient.data_ptr())
        result.append(gradient)
    return result


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
        weights: W.
        before: W before the step, where it is kept.
        total_norm: Norm of all gradients before clipping; 0.0 where there is no clipping.
        max_norm: Clipping threshold; 0.0 where there is none.

    Returns:
        The step; the states of Adam are to be taken after it (``InnerStep.take_states``).
    """
    groups = {
        id(p): {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
        for p in group["params"]
    }
    kind = optimizer_kind(optimizer)
    states = [optimizer.state[w] if w in optimizer.state else {} for w in weights]
    if kind == "SGD":
        states = [{"is_first": state.get("momentum_buffer") is None} for state in states]
    return InnerStep(
        gradients=[w.grad if id(w) in groups else None for w in weights],
        groups=[groups.get(id(w), {"lr": 0.0}) for w in weights],
        states=states,
        kind=kind,
        total_norm=total_norm,
        max_norm=max_norm,
        weights=before,
    )
