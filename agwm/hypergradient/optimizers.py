"""The optimizers whose step has a known derivative, and the record of one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from agwm.errors import HypergradientError
from agwm.shards import own_part

__all__ = ["InnerStep", "check_optimizer", "decays", "is_coupled", "numbers", "optimizer_kind", "sign"]

_KNOWN = (torch.optim.SGD, torch.optim.AdamW, torch.optim.Adam)


@dataclass
class InnerStep:
    """One optimizer step of the inner problem, with everything that its derivative needs.

    Attributes:
        gradients: The gradients that the optimizer used, after clipping; None: the weight had none.
        groups: The optimizer's settings (learning rate, betas, ...) of each weight at that step, copies;
            None: clipping counts the weight, but the optimizer does not step it.
        states: The optimizer's state of each weight after that step, its very tensors, to be read before
            the next step; of SGD, whether it is the first.
        kind: Name of the optimizer, as ``optimizer_kind`` gives it.
        total_norm: Norm of all gradients before clipping; 0.0 where there is no clipping.
        max_norm: Clipping threshold; 0.0 where there is none.
        weights: W before the step; empty where nothing needs it.
    """

    gradients: list[Tensor | None]
    groups: list[dict[str, Any] | None]
    states: list[dict[str, Any]]
    kind: str
    total_norm: float = 0.0
    max_norm: float = 0.0
    weights: list[Tensor] = field(default_factory=list)

    @property
    def clip_factor(self) -> float:
        """The factor by which clipping multiplied the gradients."""
        if self.max_norm <= 0.0:
            return 1.0
        return min(1.0, self.max_norm / (self.total_norm + 1e-6))

    def only(self, places: Sequence[int]) -> InnerStep:
        """Return the step of the weights at these places."""
        return replace(
            self,
            gradients=[self.gradients[place] for place in places],
            groups=[self.groups[place] for place in places],
            states=[self.states[place] for place in places],
            weights=[self.weights[place] for place in places] if self.weights else [],
        )

    def own_part(self) -> InnerStep:
        """Return the step of this process's part of sharded weights."""
        return replace(
            self,
            gradients=[None if gradient is None else own_part(gradient) for gradient in self.gradients],
            states=[{key: own_part(value) for key, value in state.items()} for state in self.states],
            weights=[own_part(weight) for weight in self.weights],
        )

    def take_states(self, optimizer: torch.optim.Optimizer, weights: Sequence[torch.nn.Parameter]) -> None:
        """Take the optimizer's state after the step, which Adam makes at its first one."""
        if self.kind != "SGD":
            self.states = [optimizer.state.get(weight, {}) for weight in weights]


def optimizer_kind(optimizer: torch.optim.Optimizer) -> str:
    """Return ``"SGD"``, ``"Adam"`` or ``"AdamW"`` of torch, subclasses included; else the class name.

    A subclass is taken to step as its base does. A class of the same name from another library is
    not one of torch's, and its name comes back in full.
    """
    for known in _KNOWN:
        if isinstance(optimizer, known):
            return known.__name__
    return f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"


def check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Raise unless ``best_response='optimizer'`` knows the derivative of this optimizer's step.

    Raises:
        HypergradientError: If it is neither SGD, Adam nor AdamW, or runs in a mode not covered.
    """
    if not isinstance(optimizer, _KNOWN):
        raise HypergradientError(
            "No derivative of the inner optimizer: expected SGD, Adam or AdamW of torch.optim, got"
            f" {optimizer_kind(optimizer)}. Use best_response='sgd' or 'identity'."
        )
    if any(group.get("amsgrad") for group in optimizer.param_groups):
        raise HypergradientError(
            "No derivative of the inner optimizer: expected amsgrad=False, got amsgrad=True."
            " Turn it off, or use best_response='sgd' or 'identity'."
        )


def decays(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether W enters the derivative of the step: where weight decay enters Adam's moments."""
    return any(is_coupled(optimizer_kind(optimizer), group) for group in optimizer.param_groups)


def numbers(group: dict[str, Any]) -> dict[str, Any]:
    """Return settings with tensors of one number as numbers."""

    def number(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(map(number, value))
        return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value

    return {key: number(value) for key, value in group.items()}


def sign(group: dict[str, Any]) -> float:
    """Return the sign with which gradients enter the optimizer."""
    return -1.0 if group.get("maximize") else 1.0


def is_coupled(kind: str, group: dict[str, Any]) -> bool:
    """True if weight decay enters Adam's moments (Adam does that, AdamW does not)."""
    decoupled = group.get("decoupled_weight_decay", kind == "AdamW")
    return bool(group.get("weight_decay")) and not decoupled
