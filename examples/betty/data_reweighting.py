"""Data reweighting with dropout: learn which training labels are corrupted, with Betty.

Below, a small network with dropout takes steps on the weighted training loss; above, one logit an example
takes steps on the loss of a few clean examples. Each hypergradient, by stock darts and by the type that
``import agwm`` adds, is compared with double backward through the inner step in the same dropout masks.

python examples/betty/data_reweighting.py --seed 1 --steps 50
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import isnan
from statistics import fmean, median, pstdev

import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem
from command_line import run_program
from comparison import Moment, Watch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import agwm
from agwm import markdown

FEATURES, CLASSES, TRAIN, CLEAN, TEST, CORRUPTED = 10, 4, 400, 100, 1000, 0.4
LR, BATCH, RUNS = 0.2, 100, 3


class Network(ImplicitProblem):
    """The problem below: fit the training set, each example with its weight."""

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """Return the weighted training loss."""
        inputs, labels, index = batch
        losses = cross_entropy(self.module(inputs), labels, reduction="none")
        return (torch.sigmoid(self.weights.module.logits[index]) * losses).mean()


class Weights(ImplicitProblem):
    """The problem above: find weights whose network does well on clean examples."""

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """Return the clean loss."""
        inputs, labels = batch
        return cross_entropy(self.network.module(inputs), labels)


class Logits(nn.Module):
    """The outer parameters, one an example; all start at the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(TRAIN))


def draw(seed: int) -> tuple[TensorDataset, TensorDataset, TensorDataset, Tensor]:
    """Draw training, clean and test examples, and which of the training labels are right."""
    generator, sizes = torch.Generator().manual_seed(seed), [TRAIN, CLEAN, TEST]
    centers = 1.2 * torch.randn(CLASSES, FEATURES, generator=generator)
    labels = torch.randint(CLASSES, (sum(sizes),), generator=generator)
    inputs = centers[labels] + 1.5 * torch.randn(sum(sizes), FEATURES, generator=generator)
    is_clean = torch.rand(TRAIN, generator=generator) >= CORRUPTED
    wrong = (labels[:TRAIN] + torch.randint(1, CLASSES, (TRAIN,), generator=generator)) % CLASSES
    _, clean, test = map(TensorDataset, inputs.split(sizes), labels.split(sizes))
    seen = torch.where(is_clean, labels[:TRAIN], wrong)
    return TensorDataset(inputs[:TRAIN], seen, torch.arange(TRAIN)), clean, test, is_clean


def build(config: Config, parts: Sequence[TensorDataset], seed: int, steps: int) -> Engine:
    """Wire the program; nothing but ``config`` differs between the rows of the table."""
    torch.manual_seed(seed)
    layers = (nn.Linear(FEATURES, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, CLASSES))
    module, logits, order = nn.Sequential(*layers), Logits(), torch.Generator().manual_seed(seed)
    loaders = [DataLoader(part, BATCH, shuffle=True, generator=order) for part in parts]
    below = torch.optim.SGD(module.parameters(), lr=LR)
    above = torch.optim.Adam(logits.parameters(), lr=0.1)
    network = Network("network", config, module, below, None, loaders[0])
    weights = Weights("weights", Config(), logits, above, None, loaders[1])
    dependencies = {"u2l": {weights: [network]}, "l2u": {network: [weights]}}
    return Engine([weights, network], EngineConfig(train_iters=steps, strategy="cpu"), dependencies)


def double_backward(engine: Engine, moment: Moment) -> Tensor:
    """Hypergradient through the inner step by autograd, every pass in the masks that it had."""
    names = dict(engine.network.module.named_parameters())
    before = [weight.requires_grad_() for weight in moment.weights]
    logits = engine.weights.module.logits

    def predict(inputs: Tensor, weights: list[Tensor], mask: Tensor) -> Tensor:
        torch.set_rng_state(mask)
        return functional_call(engine.network.module, dict(zip(names, weights, strict=True)), (inputs,))

    inputs, labels, index = moment.inner_batch
    losses = cross_entropy(predict(inputs, before, moment.masks[0]), labels, reduction="none")
    loss = (torch.sigmoid(logits[index]) * losses).mean()
    gradients = torch.autograd.grad(loss, before, create_graph=True)
    reached = [weight - LR * gradient for weight, gradient in zip(before, gradients, strict=True)]
    inputs, labels = moment.outer_batch
    outer = cross_entropy(predict(inputs, reached, moment.masks[1]), labels)
    return torch.autograd.grad(outer, logits)[0]


def run(config: Config, seed: int, steps: int) -> tuple[Watch, float, float]:
    """Run the program; return its hypergradients' fidelity, AUC of the weights, test accuracy."""
    train, clean, test, is_clean = draw(seed)
    engine = build(config, (train, clean), seed, steps)
    watch = Watch(engine.network, engine.weights, lambda moment: double_backward(engine, moment))
    engine.run()
    auc = roc_auc_score(is_clean, engine.weights.module.logits.detach())
    predicted = engine.network.module.eval()(test.tensors[0]).argmax(1)
    return watch, float(auc), float((predicted == test.tensors[1]).float().mean())


def table(seed: int, steps: int) -> str:
    """Run every row on three seeds: median fidelity, mean and standard deviation of the rest."""
    ours = agwm.HypergradientConfig  # Config(type="agwm") with room for settings
    kinds = {
        ("darts (stock)", "darts_alpha=0.01 (default)"): Config(type="darts"),
        ("darts (stock)", "darts_alpha=1 (tuned)"): Config(type="darts", darts_alpha=1.0),
        ("agwm", "order=first (equal weights)"): ours(hypergradient={"order": "first"}),
        ("agwm", "identity, central"): ours(hypergradient={"best_response": "identity"}),
        ("agwm", "optimizer, forward"): ours(hypergradient={"scheme": "forward"}),
        ("agwm", "optimizer, central (default)"): Config(type="agwm"),
    }
    rows = []
    for kind, config in kinds.items():
        runs = [run(config, each, steps) for each in range(seed, seed + RUNS)]
        watches, *scores = zip(*runs, strict=True)
        cosine, error = median(w.cosine for w in watches), median(w.error for w in watches)
        fidelity = ("", "") if isnan(cosine) else (f"{cosine:.4f}", f"{error:.1e}")
        means = [f"{100 * fmean(values):.1f} ± {100 * pstdev(values):.1f}" for values in scores]
        rows.append([*kind, *fidelity, *means])
    columns = ["type", "settings", "cosine", "relative error", "AUC of weights", "test accuracy"]
    return markdown.table(columns, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return run_program("data_reweighting", __doc__, table, argv)


if __name__ == "__main__":
    sys.exit(main())
