"""What the tests of the hook share: random values, and the formula written out on a plain model."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from agwm import Mixup

AGWM_PREFIX = "_agwm"


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def randomize_alpha(mixup: Mixup, seed: int = 1) -> None:
    """Draw every attention parameter from (0.05, 0.95), far from the initial 1."""
    with own_random_state(seed):
        for parameter in mixup.attention.parameters():
            parameter.uniform_(0.05, 0.95)


@torch.no_grad()
def randomize_task_weights(mixup: Mixup, seed: int = 2, scale: float = 0.1) -> None:
    """Move W away from W0, whatever form of alpha."""
    parameters = dict(mixup.model.named_parameters())
    with own_random_state(seed):
        for name in mixup.names:
            parameters[name].add_(scale * torch.randn_like(parameters[name]))


def randomize(mixup: Mixup) -> None:
    randomize_task_weights(mixup)
    randomize_alpha(mixup)


def formula(task: Tensor, pretrained: Tensor, a: Tensor, b: Tensor, name: str) -> Tensor:
    """The two formulas as the paper and the official code write them, for rank-1 factors."""
    if name == "convex":
        alpha = a * b
        return alpha * task + (1 - alpha) * pretrained
    return a * b * task + (1 - a) * (1 - b) * pretrained


def own_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    return dict(model.named_parameters())


@torch.no_grad()
def plain_twin(mixup: Mixup, plain: nn.Module) -> nn.Module:
    """Return a copy of a model never injected, holding the mixed weights of ``mixup``."""
    twin = copy.deepcopy(plain)
    twin.load_state_dict(mixup.model.state_dict())
    task = own_weights(mixup.model)
    for name, parameter in own_weights(twin).items():
        if name in mixup.names:
            alpha = mixup.attention[name]
            mixed = formula(task[name], mixup.pretrained[name], alpha.a, alpha.b, mixup.formula)
            parameter.copy_(mixed)
    return twin


def leftovers(model: nn.Module) -> list[str]:
    """List what agwm left on a model."""
    return [
        f"{name}.{key}"
        for name, module in model.named_modules()
        for key in module.__dict__
        if key.startswith(AGWM_PREFIX)
    ] + [name for name, module in model.named_modules() if hasattr(type(module), "_agwm_base")]


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Gradients by name; zero where none arrived."""
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }
