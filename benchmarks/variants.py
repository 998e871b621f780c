"""What the benchmark measures: each variant is one call, with a model of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn

import agwm
from agwm.hypergradient._betty import Engine, quiet_betty
from benchmarks.models import Machine, Size
from benchmarks.stock_betty import mix_literally, pretrained_weights, stock_engine

__all__ = [
    "FINAL",
    "PARTS",
    "PLAIN",
    "SEARCHES",
    "STOCKS",
    "VANILLA",
    "Kind",
    "Variant",
    "iteration",
    "kinds",
    "search",
    "stock",
]

VANILLA, PLAIN, FINAL = "vanilla step", "plain forward and backward", "agwm, final stage"
SEARCHES: dict[str, dict[str, Any]] = {
    "agwm, forward scheme": {"scheme": "forward", "best_response": "optimizer"},
    "agwm, central scheme": {"scheme": "central", "best_response": "optimizer"},
    "agwm, explicit scheme": {"scheme": "explicit", "best_response": "optimizer"},
    "agwm, first order": {"order": "first"},
}
# On a part of the batch either scheme takes two passes of it, so that forward has no gain to offer.
PARTS: dict[str, dict[str, Any]] = {
    f"agwm, central scheme, 1/{share} of the batch": {
        "scheme": "central",
        "best_response": "optimizer",
        "batch_fraction": 1 / share,
    }
    for share in (2, 4)
}
STOCKS = {"stock Betty, darts": False, "stock Betty, darts, roll-back": True}
LR, OUTER_LR = 2e-5, 2e-3
Tensors = Iterable[Tensor]


@dataclass(frozen=True)
class Variant:
    """One thing to measure.

    Attributes:
        name: What the table calls it.
        reference: Name of the variant that its ratio is to.
        model: The model that it runs, for counting passes.
        step: Does it once.
        optimizer: The inner optimizer, where it has one.
        engine: The engine, where it is a search.
        attention: The attention parameters.
        pretrained: W0.
        outer_optimizer: The optimizer of the attention parameters.
        batches: What it is fed with.
    """

    name: str
    reference: str
    model: nn.Module
    step: Callable[[], Any]
    optimizer: torch.optim.Optimizer | None = None
    engine: Engine | None = None
    attention: nn.Module | None = None
    pretrained: tuple[Tensor, ...] = ()
    outer_optimizer: torch.optim.Optimizer | None = None
    batches: tuple[dict[str, Tensor], ...] = ()


@dataclass(frozen=True)
class Kind:
    """A variant that is not built yet: ``build()`` builds it."""

    name: str
    build: Callable[[], Variant]


def _training(name: str, size: Size, machine: Machine, is_mixed: bool = False) -> Variant:
    """One-level training by AdamW; with ``is_mixed``, of an injected model with alpha fixed."""
    model, batches = size.model(machine), size.batches(1, machine)
    mixup = agwm.inject(model, seed=0) if is_mixed else None
    if mixup is not None:
        mixup.attention.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    source = cycle(batches)

    def step() -> None:
        with machine.autocast():
            loss = model(**next(source)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    attention = None if mixup is None else mixup.attention
    pretrained = () if mixup is None else tuple(mixup.pretrained.values())
    return Variant(name, VANILLA, model, step, optimizer, None, attention, pretrained, None, tuple(batches))


def _passes(name: str, size: Size, machine: Machine, mix: Callable[[nn.Module], Any] | None) -> Variant:
    """One forward and backward; ``mix`` mixes the weights and returns the attention parameters."""
    model = size.model(machine)
    attention = None if mix is None else mix(model)
    parameters = [*model.parameters(), *(() if attention is None else attention.parameters())]
    source = cycle(size.batches(1, machine))

    def step() -> None:
        with machine.autocast():
            loss = model(**next(source)).loss
        torch.autograd.grad(loss, parameters)

    return Variant(name, PLAIN, model, step)


def iteration(engine: Engine, count: int) -> Callable[[], None]:
    """Return a function that takes so many steps of an engine, which is put into training mode."""
    engine.train()

    def step() -> None:
        for _ in range(count):
            engine.global_step += 1
            engine.train_step()

    return step


def search(
    name: str,
    size: Size,
    machine: Machine,
    settings: dict[str, Any],
    unroll_steps: int = 1,
    kernels: str = "sdpa",
) -> Variant:
    """Build a search by agwm; a step is an outer step with the inner steps that belong to it.

    Args:
        name: What the table calls it.
        size: Size of the model and of a batch.
        machine: Where it runs.
        settings: Of the hypergradient.
        unroll_steps: Inner steps for each outer step.
        kernels: Of the model's attention.
    """
    model = size.model(machine, kernels)
    mixup = agwm.inject(model, seed=0)
    inner, outer = size.batches(1, machine), size.batches(2, machine)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    outer_optimizer = torch.optim.AdamW(mixup.attention.parameters(), lr=OUTER_LR)
    engine = agwm.build_engine(
        mixup,
        inner,
        outer,
        optimizer,
        outer_optimizer,
        train_iters=1,  # the steps are taken one by one, not by run()
        hypergradient=settings,
        unroll_steps=unroll_steps,
        precision=machine.precision,
        progress=False,
    )
    return Variant(
        name,
        VANILLA,
        model,
        iteration(engine, unroll_steps),
        optimizer,
        engine,
        mixup.attention,
        tuple(mixup.pretrained.values()),
        outer_optimizer,
        (*inner, *outer),
    )


def stock(name: str, size: Size, machine: Machine, roll_back: bool, kernels: str = "sdpa") -> Variant:
    """Build a search by stock Betty; a step is one iteration."""
    model = size.model(machine, kernels)
    inner, outer = size.batches(1, machine), size.batches(2, machine)
    with quiet_betty():
        engine = stock_engine(model, inner, outer, roll_back, LR, OUTER_LR, machine)
    return Variant(
        name,
        VANILLA,
        model,
        iteration(engine, 1),
        engine.inner.optimizer,
        engine,
        engine.outer.module,
        pretrained_weights(model),
        engine.outer.optimizer,
        (*inner, *outer),
    )


def _injected(formula: str) -> Callable[[nn.Module], nn.Module]:
    return lambda model: agwm.inject(model, formula=formula, seed=0).attention


def kinds(size: Size, machine: Machine) -> list[Kind]:
    """Return all that is measured, in the order of the table.

    Args:
        size: Size of the model and of a batch.
        machine: Where it runs.
    """
    builders: dict[str, Callable[[str], Variant]] = {
        VANILLA: partial(_training, size=size, machine=machine),
        PLAIN: partial(_passes, size=size, machine=machine, mix=None),
    }
    for name, settings in {**SEARCHES, **PARTS}.items():
        builders[name] = partial(search, size=size, machine=machine, settings=settings)
    for name, roll_back in STOCKS.items():
        builders[name] = partial(stock, size=size, machine=machine, roll_back=roll_back)
    builders[FINAL] = partial(_training, size=size, machine=machine, is_mixed=True)
    for formula in ("convex", "factored"):
        name = f"injected, {formula}, forward and backward"
        builders[name] = partial(_passes, size=size, machine=machine, mix=_injected(formula))
    name = "formula written out, forward and backward"
    builders[name] = partial(_passes, size=size, machine=machine, mix=mix_literally)
    return [Kind(name, partial(build, name)) for name, build in builders.items()]
