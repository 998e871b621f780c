"""L2 rates of logistic regression, one a coordinate, learned on a validation set with Betty.

Below, the weights w take steps on the training loss; above, the logarithms of the rates take steps on the
validation loss at the weights reached. The hypergradient through one inner step has a closed form; that of
stock darts and those of the type that ``import agwm`` adds are compared with it.

python examples/betty/logistic_hyperparameters.py --seed 1 --steps 50
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem
from command_line import run_program
from comparison import Moment, Watch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import agwm
from agwm import markdown

FEATURES, EXAMPLES, LR = 20, 80, 0.1
OPTIMIZERS = ("SGD", "Adam")


class Weights(ImplicitProblem):
    """The problem below: fit the training set, with the present rates."""

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the training loss."""
        inputs, labels = batch
        loss = binary_cross_entropy_with_logits(self.module(inputs).squeeze(1), labels)
        return loss + (self.rates.module.log.exp() * self.module.weight**2).sum() / 2


class Rates(ImplicitProblem):
    """The problem above: find rates whose weights do well on the validation set."""

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the validation loss."""
        inputs, labels = batch
        return binary_cross_entropy_with_logits(self.weights.module(inputs).squeeze(1), labels)

    def param_callback(self) -> None:
        """Keep the rates where steps of SGD are stable (a hook of Betty's)."""
        with torch.no_grad():
            self.module.log.clamp_(-8.0, 2.0)


class LogRates(nn.Module):
    """The outer parameters, one a coordinate."""

    def __init__(self) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.full((FEATURES,), -3.0, dtype=torch.float64))


def draw(seed: int) -> list[tuple[Tensor, Tensor]]:
    """Draw a training and a validation set; a quarter of the features decide the labels."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(FEATURES, generator=generator, dtype=torch.float64)
    truth[FEATURES // 4 :] = 0.0
    inputs = torch.randn(2, EXAMPLES, FEATURES, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, EXAMPLES, generator=generator, dtype=torch.float64)
    return list(zip(inputs, (inputs @ truth + noise > 0).double(), strict=True))


def build(config: Config, optimizer: str, seed: int, steps: int) -> Engine:
    """Wire the program; nothing but ``config`` differs between the rows of the table."""
    linear, rates = nn.Linear(FEATURES, 1, bias=False).double(), LogRates()
    nn.init.constant_(linear.weight, 0.1)
    data, below = draw(seed), getattr(torch.optim, optimizer)(linear.parameters(), lr=LR)
    above = torch.optim.Adam(rates.parameters(), lr=0.05)
    lower = Weights("weights", config, linear, below, None, data[:1])
    upper = Rates("rates", Config(), rates, above, None, data[1:])
    dependencies = {"u2l": {upper: [lower]}, "l2u": {lower: [upper]}}
    return Engine([upper, lower], EngineConfig(train_iters=steps, strategy="cpu"), dependencies)


def slope(optimizer: str, gradient: Tensor, state: dict[str, Any]) -> Tensor | float:
    """Derivative of the optimizer's step by the gradient, entry by entry."""
    if optimizer == "SGD":
        return -LR
    beta1, beta2, eps, step = 0.9, 0.999, 1e-8, float(state.get("step", 0)) + 1
    mean = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * gradient
    square = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * gradient**2
    mean, root = mean / (1 - beta1**step), (square / (1 - beta2**step)).sqrt()
    own_mean, own_square = (1 - beta1) / (1 - beta1**step), (1 - beta2) / (1 - beta2**step)
    return -LR * (own_mean / (root + eps) - mean / (root + eps) ** 2 * own_square * gradient / root)


def pull(batch: tuple[Tensor, Tensor], weight: Tensor) -> Tensor:
    """Gradient of the logistic loss by the weights."""
    inputs, labels = batch
    return inputs.t() @ (torch.sigmoid(inputs @ weight) - labels) / len(labels)


def through_step(engine: Engine, optimizer: str, moment: Moment) -> Tensor:
    """Hypergradient through the inner step: slope * rate * w, times dL_val/dw at the weights reached."""
    rate, weight = engine.rates.module.log.detach().exp(), moment.weights[0].squeeze(0)
    gradient = pull(moment.inner_batch, weight) + rate * weight
    outer = pull(moment.outer_batch, engine.weights.module.weight.detach().squeeze(0))
    return slope(optimizer, gradient, moment.states[0]) * rate * weight * outer


def at_optimum(engine: Engine, moment: Moment) -> Tensor:
    """Hypergradient if the weights reached were those of least training loss: implicit function theorem."""
    rate, weight = engine.rates.module.log.detach().exp(), engine.weights.module.weight.detach().squeeze(0)
    inputs, share = moment.inner_batch[0], torch.sigmoid(moment.inner_batch[0] @ weight)
    hessian = (inputs.t() * (share * (1 - share))) @ inputs / EXAMPLES + rate.diag()
    return -rate * weight * torch.linalg.solve(hessian, pull(moment.outer_batch, weight))


def run(config: Config, optimizer: str, seed: int, steps: int) -> tuple[Watch, Watch, float]:
    """Run the program; compare with the step and with the optimum; return the validation loss reached."""
    engine = build(config, optimizer, seed, steps)
    step = Watch(engine.weights, engine.rates, lambda moment: through_step(engine, optimizer, moment))
    optimum = Watch(engine.weights, engine.rates, lambda moment: at_optimum(engine, moment))
    engine.run()
    return step, optimum, float(engine.rates.training_step(engine.rates.cur_batch).detach())


def table(seed: int, steps: int) -> str:
    """Run every row."""
    kinds = {("darts (stock)", "", ""): Config(type="darts")}
    for response, scheme in product(("identity", "sgd", "optimizer"), ("forward", "central")):
        settings = {"best_response": response, "scheme": scheme}
        kinds["agwm", response, scheme] = agwm.HypergradientConfig(hypergradient=settings)
    rows = []
    for optimizer, (kind, config) in product(OPTIMIZERS, kinds.items()):
        step, optimum, loss = run(config, optimizer, seed, steps)
        figures = (f"{step.cosine:.4f}", f"{step.error:.1e}", f"{optimum.cosine:.2f}", f"{loss:.4f}")
        rows.append([optimizer, *kind, *figures])
    columns = ["inner step", "type", "best_response", "scheme", "cosine", "relative error"]
    return markdown.table([*columns, "cosine at optimum", "validation loss"], rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return run_program("logistic_hyperparameters", __doc__, table, argv)


if __name__ == "__main__":
    sys.exit(main())
