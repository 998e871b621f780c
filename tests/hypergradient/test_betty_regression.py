"""Betty's own regression test, rewritten: rates of weight decay of logistic regression, 100 steps unrolled.

Betty asks its validation loss to end below 0.48 with an outer SGD at rate 1. Its indirect term has no
inner learning rate (0.1 here), ours has: the outer rate has to be ten times as large for the same step.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

import agwm

LIMIT = 0.48
SIZE = 20


class Vector(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((SIZE,), value))


class Rates(ImplicitProblem):
    def training_step(self, batch):
        x, y = batch
        return binary_cross_entropy_with_logits(x @ self.weights.module.w, y)

    def param_callback(self):
        self.module.w.data.clamp_(min=1e-8)


class Weights(ImplicitProblem):
    def training_step(self, batch):
        x, y = batch
        decay = 0.5 * (self.rates.module.w * self.module.w**2).sum()
        return binary_cross_entropy_with_logits(x @ self.module.w, y) + decay

    def on_inner_loop_start(self):
        self.module.w.data.zero_()


def final_loss(config: Config, outer_rate: float) -> float:
    draws = np.random.RandomState(0)
    truth, x = draws.randn(SIZE), draws.randn(1000, SIZE)
    y = x @ truth + 0.1 * draws.randn(1000) > 0
    x, y = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    upper, lower = Vector(1.0), Vector(0.0)
    outer_optimizer = torch.optim.SGD(upper.parameters(), lr=outer_rate, momentum=0.9)
    inner_optimizer = torch.optim.SGD(lower.parameters(), lr=0.1)
    rates = Rates("rates", Config(), upper, outer_optimizer, None, [(x[500:], y[500:])])
    weights = Weights("weights", config, lower, inner_optimizer, None, [(x[:500], y[:500])])
    dependencies = {"u2l": {rates: [weights]}, "l2u": {weights: [rates]}}
    Engine([rates, weights], EngineConfig(train_iters=2000), dependencies).run()
    return rates.training_step(rates.cur_batch).item()


def test_identity_is_a_drop_in_for_darts():
    settings = {"best_response": "identity"}
    stock = final_loss(Config(unroll_steps=100), 1.0)
    ours = final_loss(agwm.HypergradientConfig(hypergradient=settings, unroll_steps=100), 1.0)
    assert stock < LIMIT and ours == pytest.approx(stock, abs=1e-3)


def test_defaults_need_an_outer_rate_ten_times_as_large():
    loss = {rate: final_loss(Config(type="agwm", unroll_steps=100), rate) for rate in (1.0, 10.0)}
    assert loss[1.0] == pytest.approx(0.565, abs=2e-3) and loss[1.0] > LIMIT
    assert loss[10.0] == pytest.approx(0.362, abs=2e-3)
