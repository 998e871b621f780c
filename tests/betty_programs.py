"""A program on Betty's own classes: logistic regression, its per-feature weight decay the upper level."""

from __future__ import annotations

import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem
from torch import Tensor, nn


class Decay(nn.Module):
    """Per-feature weight decay, the upper parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.full((3,), 0.1, dtype=torch.float64))


def batches(count: int = 4, seed: int = 0) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "x": torch.randn(4, 3, generator=generator, dtype=torch.float64),
            "y": torch.randint(0, 2, (4,), generator=generator).double(),
        }
        for _ in range(count)
    ]


class Inner(ImplicitProblem):
    def training_step(self, batch):
        logits = self.module(batch["x"]).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, batch["y"])
        return loss + (self.outer.module.rate * self.module.weight**2).sum()


class Outer(ImplicitProblem):
    def training_step(self, batch):
        logits = self.inner.module(batch["x"]).squeeze(1)
        return nn.functional.binary_cross_entropy_with_logits(logits, batch["y"])


class DirectOuter(Outer):
    def training_step(self, batch):
        return super().training_step(batch) + self.module.rate.sum()


def linear() -> nn.Linear:
    layer = nn.Linear(3, 1, bias=False).double()
    nn.init.constant_(layer.weight, 0.3)
    return layer


def problems(
    inner_config: Config | None = None,
    outer_config: Config | None = None,
    inner: type = Inner,
    outer: type = Outer,
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
    scheduler=None,
    loader=None,
    module: nn.Module | None = None,
):
    layer, decay = linear() if module is None else module, Decay()
    stepper = optimizer(layer.parameters())
    return (
        inner(
            "inner",
            inner_config or Config(),
            layer,
            stepper,
            None if scheduler is None else scheduler(stepper),
            batches() if loader is None else loader,
        ),
        outer(
            "outer",
            outer_config or Config(),
            decay,
            torch.optim.SGD(decay.parameters(), lr=0.1),
            None,
            batches(seed=1),
        ),
    )


def engine(inner, outer, **config) -> Engine:
    dependencies = {"u2l": {outer: [inner]}, "l2u": {inner: [outer]}}
    return Engine([outer, inner], EngineConfig(**{"train_iters": 1} | config), dependencies)
