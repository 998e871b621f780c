"""Carry what the earlier steps of a window did to W, the gradients by the computed weights held fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agwm.hypergradient.best_response import BestResponse
from agwm.hypergradient.optimizers import InnerStep, is_coupled, numbers, sign

__all__ = ["Carried", "carry_"]


@dataclass
class Carried:
    """Derivative of a weight and of its two moments along the gradients of the window's steps.

    Attributes:
        weight: Of W; of its shape, as the others are.
        mean: Of Adam's first moment, or of SGD's momentum.
        square: Of Adam's second moment; never filled by SGD.
    """

    weight: Tensor
    mean: Tensor | None = None
    square: Tensor | None = None


@torch.no_grad()
def carry_(
    carried: dict[Tensor, Carried],
    slopes: Mapping[Tensor, Tensor],
    weights: Sequence[nn.Parameter],
    step: InnerStep,
    best_response: BestResponse,
) -> None:
    r"""Take the derivatives through one step of the optimizer, in place.

    It is forward-mode differentiation, entry by entry, of the step that was taken: the gradient moves by G,
    W and the moments by what the earlier steps made of theirs. What a moved W does to the gradient (the
    Hessian) and to the factor of clipping is left out.

    Args:
        carried: W -> its derivatives before the step; a weight that is not there has none yet.
        slopes: W -> G; a weight that is not there has no gradient of its own in this step.
        weights: W, in the order of the step.
        step: The step, with the optimizer's states after it.
        best_response: ``"sgd"`` for the learning rate alone, ``"optimizer"`` for the step that was taken.
    """
    for index, weight in enumerate(weights):
        group, slope = step.groups[index], slopes.get(weight)
        if group is None or (slope is None and weight not in carried):
            continue
        own = carried.setdefault(weight, Carried(torch.zeros_like(weight)))
        group = numbers(group)
        moved = torch.zeros_like(weight) if slope is None else slope * (sign(group) * step.clip_factor)
        if best_response == "sgd":
            own.weight.sub_(moved, alpha=group["lr"])
        elif step.kind == "SGD":
            _through_sgd_(own, moved, group, step.states[index])
        elif (gradient := step.gradients[index]) is not None:
            before = step.weights[index] if is_coupled(step.kind, group) else None
            _through_adam_(own, moved, gradient, before, group, step.states[index])


def _through_sgd_(own: Carried, moved: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
    moved = moved.add_(own.weight, alpha=group["weight_decay"])
    if group["momentum"]:
        entering = moved * (1.0 if state["is_first"] else 1.0 - group["dampening"])
        own.mean = entering if own.mean is None else entering.add_(own.mean, alpha=group["momentum"])
        moved = moved.add_(own.mean, alpha=group["momentum"]) if group["nesterov"] else own.mean
    own.weight.sub_(moved, alpha=group["lr"])


def _through_adam_(
    own: Carried,
    moved: Tensor,
    gradient: Tensor,
    before: Tensor | None,  # W before the step, where weight decay enters the moments
    group: dict[str, Any],
    state: dict[str, Any],
) -> None:
    (beta1, beta2), count, rate = group["betas"], float(state["step"]), float(group["lr"])
    entering = gradient * sign(group)
    if before is not None:
        moved = moved.add_(own.weight, alpha=group["weight_decay"])
        entering = entering.add_(before, alpha=group["weight_decay"])
    elif group.get("weight_decay"):
        own.weight.mul_(1.0 - rate * group["weight_decay"])
    if own.mean is None or own.square is None:
        own.mean, own.square = torch.zeros_like(moved), torch.zeros_like(moved)
    own.mean.mul_(beta1).add_(moved, alpha=1.0 - beta1)
    own.square.mul_(beta2).addcmul_(entering, moved, value=2.0 * (1.0 - beta2))
    correction1, correction2 = 1.0 - beta1**count, 1.0 - beta2**count
    root = (state["exp_avg_sq"] / correction2).sqrt_()
    bottom = root + group["eps"]
    own.weight.addcdiv_(own.mean, bottom, value=-rate / correction1)
    # 0 where the root is: there the second moment, and what it moves by, are 0
    slope = own.square / root.mul_(bottom).mul_(bottom).clamp_min_(torch.finfo(root.dtype).tiny)
    own.weight.addcmul_(state["exp_avg"], slope, value=rate / (2.0 * correction1 * correction2))
