"""Compare every hypergradient that a Betty program uses with an exact one."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from betty.problems import ImplicitProblem
from torch import Tensor

__all__ = ["Moment", "Watch"]


@dataclass
class Moment:
    """All that one hypergradient depends on, beside the parameters at the outer step.

    Attributes:
        weights: W before the inner step.
        states: The inner optimizer's state of each weight before it.
        masks: Random state before the inner and before the outer forward pass.
        inner_batch: Batch of the inner step.
        outer_batch: Batch of the outer step.
    """

    weights: list[Tensor]
    states: list[dict[str, Any]]
    masks: list[Tensor]
    inner_batch: Any
    outer_batch: Any


@dataclass
class Watch:
    """Compares each hypergradient of a program with an exact one; make it after the engine.

    It hangs on hooks of torch, so that the problems need not know of it.

    Attributes:
        inner: The problem below; its module is called once in each ``training_step``.
        outer: The problem above.
        exact: Gives the exact hypergradient of a moment, in the order of the outer parameters.
        cosines: Cosine to the exact one, one an outer step.
        errors: Distance from the exact one over its norm, one an outer step.
    """

    inner: ImplicitProblem
    outer: ImplicitProblem
    exact: Callable[[Moment], Tensor]
    cosines: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._masks: list[Tensor] = []
        self.inner.module.register_forward_pre_hook(
            lambda *_: self._masks.append(torch.get_rng_state()) if self.inner.module.training else None
        )
        self.inner.optimizer.register_step_pre_hook(lambda *_: self._before_inner())
        self.outer.optimizer.register_step_pre_hook(lambda *_: self._compare())

    def _before_inner(self) -> None:
        weights, state = list(self.inner.module.parameters()), self.inner.optimizer.state
        self._weights = [weight.detach().clone() for weight in weights]
        self._states = [deepcopy(state[weight]) if weight in state else {} for weight in weights]

    def _compare(self) -> None:
        moment = Moment(
            self._weights, self._states, self._masks[:2], self.inner.cur_batch, self.outer.cur_batch
        )
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            exact = self.exact(moment).detach().flatten()
        found = torch.cat([parameter.grad.flatten() for parameter in self.outer.module.parameters()])
        self.cosines.append(float(torch.cosine_similarity(found, exact, dim=0, eps=0.0)))
        self.errors.append(float((found - exact).norm() / exact.norm()))
        self._masks = []

    @property
    def cosine(self) -> float:
        """Median over the outer steps."""
        return median(self.cosines)

    @property
    def error(self) -> float:
        """Median over the outer steps."""
        return median(self.errors)
