"""The search step on Betty's own classes, as a program without agwm would write it.

Plain ``ImplicitProblem`` and ``Engine`` with the darts hypergradient. Two things are worked around, both
needed for it to run at all: Betty 0.2.1 rebuilds the user's optimizer and fails on AdamW, so the
optimizer handed in is kept; and roll-back restores the inner module, so alpha is kept outside of it.
"""

from __future__ import annotations

from typing import Any

import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem
from torch import Tensor, nn
from torch.nn.utils import parametrize

from agwm.mixing.selection import select
from benchmarks.models import CPU, Machine

__all__ = ["Factors", "mix_literally", "pretrained_weights", "stock_engine"]

INIT_STD = 0.005


class Factors(nn.Module):
    """The attention parameters of all mixed weights: a pair of vectors each."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.ParameterList()
        self.columns = nn.ParameterList()

    def add(self, weight: Tensor) -> tuple[nn.Parameter, nn.Parameter]:
        """Draw the pair of a weight of shape (rows, columns), clamped to [0, 1]."""
        for factors, shape in ((self.rows, (len(weight), 1)), (self.columns, (1, weight.shape[1]))):
            drawn = (1.0 + INIT_STD * torch.randn(shape)).clamp(0.0, 1.0)
            factors.append(nn.Parameter(drawn.to(weight.device)))
        return self.rows[-1], self.columns[-1]


class _Literal(nn.Module):
    r"""The factored formula written out: :math:`(a b^\top) W + ((1 - a)(1 - b)^\top) W_0`."""

    def __init__(self, pretrained: Tensor, rows: nn.Parameter, columns: nn.Parameter) -> None:
        super().__init__()
        self.register_buffer("pretrained", pretrained, persistent=False)
        self.pair = (rows, columns)  # in a tuple: no parameters of the inner module

    def forward(self, task: Tensor) -> Tensor:
        rows, columns = self.pair
        return (rows @ columns) * task + ((1 - rows) @ (1 - columns)) * self.pretrained


def mix_literally(model: nn.Module) -> Factors:
    """Mix the weights that agwm mixes by default, with the formula written out in tensor operations.

    Args:
        model: A model whose mixed weights are all two-dimensional. Changed in place.

    Returns:
        The attention parameters, which are none of the model's.
    """
    factors = Factors()
    for candidate in select(model, None, None):
        weight = candidate.parameter.detach().clone()
        pair = factors.add(weight)
        for module, attribute in candidate.places:
            parametrize.register_parametrization(module, attribute, _Literal(weight, *pair))
    return factors


def pretrained_weights(model: nn.Module) -> tuple[Tensor, ...]:
    """Return W0 of a model that :func:`mix_literally` mixed."""
    return tuple(module.pretrained for module in model.modules() if isinstance(module, _Literal))


class _KeepsOptimizer(ImplicitProblem):
    machine = CPU

    def patch_optimizer(self) -> None:
        """Leave the optimizer alone: Betty's own rebuilding raises on AdamW."""


class _Inner(_KeepsOptimizer):
    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        with self.machine.autocast():
            return self.module(**batch).loss


class _Outer(_KeepsOptimizer):
    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        with self.machine.autocast():
            return self.inner.module(**batch).loss

    def param_callback(self) -> None:
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.clamp_(0.0, 1.0)


def stock_engine(
    model: nn.Module,
    inner_loader: list[dict[str, Any]],
    outer_loader: list[dict[str, Any]],
    roll_back: bool,
    lr: float = 2e-5,
    outer_lr: float = 2e-3,
    machine: Machine = CPU,
) -> Engine:
    """Wire a plain model into stock Betty with darts.

    Args:
        model: The model; mixed in place by :func:`mix_literally`.
        inner_loader: Batches of the inner split.
        outer_loader: Batches of the outer split.
        roll_back: Betty's ``roll_back``.
        lr: Learning rate of W.
        outer_lr: Learning rate of alpha.
        machine: Where it runs. Betty's own precision works on CUDA only, so that autocast is around
            the forward passes.

    Returns:
        The engine; each ``train_step()`` is one search iteration.
    """
    factors = mix_literally(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    outer_optimizer = torch.optim.AdamW(factors.parameters(), lr=outer_lr)
    inner = _Inner("inner", Config(type="darts"), model, optimizer, None, inner_loader)
    # the outer loss is differentiated by alpha and then by W: the graph must outlive the first
    config = Config(type="darts", retain_graph=True)
    outer = _Outer("outer", config, factors, outer_optimizer, None, outer_loader)
    inner.machine = outer.machine = machine
    dependencies = {"u2l": {outer: [inner]}, "l2u": {inner: [outer]}}
    strategy = {"cpu": "cpu", "cuda": "gpu"}[machine.device]
    return Engine([outer, inner], EngineConfig(roll_back=roll_back, strategy=strategy), dependencies)
