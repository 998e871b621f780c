"""How close the indirect term comes to the exact derivative in the same recorded masks.

All agwm schemes walk the same path: each applies the indirect term of the first, so that one exact
derivative a step serves them all. Stock Betty walks its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from agwm.mixing.selection import select
from agwm.rng import RngState
from benchmarks import oracles
from benchmarks.dropout_masks import Pass, apply_masks, check_loss, record_masks
from benchmarks.intercept import replaced_hypergradient
from benchmarks.models import Machine, Size
from benchmarks.variants import PARTS, SEARCHES, STOCKS, Variant, search, stock

__all__ = [
    "ALL_STEPS",
    "EVALUATION",
    "FIRST_STEP",
    "LAST_STEP",
    "MASKS",
    "STOCK_LAST_STEP",
    "UNROLLED_LAST_STEP",
    "Watched",
    "measure_fidelity",
]

FIRST_STEP, LAST_STEP = 2, 6
STOCK_LAST_STEP = 4  # two exact derivatives a step, of figures that are far from any limit
UNROLLED, UNROLLED_LAST_STEP = (1, 2, 4), 3
MASKS, EVALUATION = "the inner step's masks", "evaluation mode"
ALL_STEPS = "the masks of all inner steps"
TOLERANCE = {"fp32": 1e-4, "bf16": 3e-2}  # of a loss, to tell the right masks from others
DIFFERENCES = {name: SEARCHES[name] for name in ("agwm, central scheme", "agwm, forward scheme")} | PARTS
Term = list[Tensor]


class Watched:
    """A search, watched: what each iteration saw, and the indirect term that it arrived at."""

    def __init__(self, variant: Variant, names: list[str], machine: Machine) -> None:
        self.variant, self.machine = variant, machine
        self.passes: dict[str, list[Pass]] = {}
        self.starts: list[tuple[dict[str, Tensor], dict[str, Any]]] = []
        self.named = {
            name.replace(".parametrizations", "").removesuffix(".original"): parameter
            for name, parameter in variant.model.named_parameters()
        }
        attention: Any = variant.attention
        pairs = zip(attention.rows, attention.columns, strict=True) if hasattr(attention, "rows") else None
        pairs = pairs or [attention[name].factors() for name in names]
        self.alpha = {
            key: vector
            for name, pair in zip(names, pairs, strict=True)
            for key, vector in zip(oracles.keys(name), pair, strict=True)
        }
        self._follow("inner")
        self._follow("outer")
        variant.optimizer.register_step_pre_hook(self._before_inner_step)

    def _follow(self, kind: str) -> None:
        problem = getattr(self.variant.engine, kind)
        own = problem.training_step

        def training_step(batch: Any) -> Tensor:
            state = RngState.capture(self.machine.device)
            loss = own(batch)
            self.passes.setdefault(kind, []).append(Pass(dict(batch), state, float(loss.detach())))
            return loss

        problem.training_step = training_step

    def _before_inner_step(self, *_: Any) -> None:
        state = self.variant.optimizer.state
        states = {name: copy.deepcopy(state.get(p, {})) for name, p in self.named.items()}
        self.starts.append((self.weights(), states))

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of W by the names of the plain model."""
        return {name: parameter.detach().clone() for name, parameter in self.named.items()}

    def run(self, then: Callable[[Term], Term]) -> None:
        """Take an iteration; ``then`` gets the indirect term and returns the one to be applied."""
        self.passes, self.starts = {}, []

        def wrap(own: Callable[..., Any]) -> Callable[..., None]:
            def captured(vector: Any, curr: Any, prev: Any, sync: bool) -> None:
                outer = prev.trainable_parameters()
                terms = dict(zip(map(id, outer), own(vector, curr, prev, False), strict=True))
                ordered = list(self.alpha.values())
                applied = then([terms[id(vector)].detach().clone() for vector in ordered])
                found = dict(zip(map(id, ordered), applied, strict=True))
                prev.set_grads(outer, [found[id(parameter)].clone() for parameter in outer])

            return captured

        with replaced_hypergradient(self.variant, wrap):
            self.variant.step()

    def exact(self, loss: oracles.Loss) -> Term:
        """Return the exact indirect term through all inner steps of the present iteration.

        Args:
            loss: The loss in float64.
        """
        vector = oracles.outer_slope(loss, self.moment(loss, 0))
        adjoint = {name: [v, torch.zeros_like(v), torch.zeros_like(v)] for name, v in vector.items()}
        total: Term = []
        for number in reversed(range(len(self.starts))):
            adjoint, found = oracles.step_back(loss, self.moment(loss, number), adjoint)
            term = list(found.values())
            total = [a + b for a, b in zip(total, term, strict=True)] if total else term
        return total

    def exact_identity(self, loss: oracles.Loss) -> dict[str, Term]:
        """Return minus the mixed derivative after the inner step, times v, as Betty defines it.

        Args:
            loss: The loss in float64.

        Returns:
            One term with the inner loss in the inner step's masks, one with it in evaluation mode.
        """
        moment = self.moment(loss, 0)
        ((batch, _),) = moment.inner
        moments = {MASKS: moment, EVALUATION: replace(moment, inner=[(batch, None)])}
        return {
            against: list(oracles.identity_term(loss, found, moment.updated).values())
            for against, found in moments.items()
        }

    def moment(self, loss: oracles.Loss, number: int) -> oracles.Moment:
        """Return an inner step of the present iteration and the outer step, before alpha is updated."""
        (before, states), updated = self.starts[number], self.weights()
        passes = self.passes["inner"][number], self.passes["outer"][0]
        inner, outer = (
            (made.batch, record_masks(self.variant.model, made, self.machine)) for made in passes
        )
        groups = {id(p): group for group in self.variant.optimizer.param_groups for p in group["params"]}
        settings = {name: groups[id(parameter)] for name, parameter in self.named.items()}
        moment = oracles.Moment(before, updated, self.alpha, [inner], outer, settings, states).double()
        within = TOLERANCE[self.machine.precision]
        check_loss(loss, moment.before, moment.alpha, moment.inner[0], within, passes[0].loss)
        check_loss(loss, moment.updated, moment.alpha, moment.outer, within, passes[1].loss)
        return moment


def _exact_loss(
    plain: nn.Module, names: Sequence[str], formula: Callable[..., Tensor], dropout: float
) -> oracles.Loss:
    return oracles.mixed_loss(
        copy.deepcopy(plain).double(), names, formula, partial(apply_masks, dropout=dropout)
    )


def _compare(step: int, actual: Term, expected: Term) -> dict[str, float]:
    got, exact = (torch.cat([t.double().flatten() for t in term]) for term in (actual, expected))
    return {
        "step": step,
        "cosine": float(torch.nn.functional.cosine_similarity(got, exact, dim=0)),
        "error": float((got - exact).norm() / exact.norm()),
    }


def _record(name: str, against: str, steps: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "name": name,
        "against": against,
        "cosine": min(step["cosine"] for step in steps),
        "error": max(step["error"] for step in steps),
        "steps": steps,
    }


def measure_fidelity(size: Size, machine: Machine) -> list[dict[str, Any]]:
    """Compare the indirect terms of steps 2 to 6 (stock Betty: 2 to 4) with the exact ones.

    The first step is left out: the derivative of Adam's first update all but vanishes.

    Args:
        size: Size of the model and of a batch.
        machine: Where.

    Returns:
        One record a scheme, one for each number of unroll steps, whose exact derivative is through all
        inner steps, and for stock Betty one for each of two exact derivatives: ``cosine`` and ``error``
        are the worst of all steps, ``error`` relative.
    """
    plain = size.model(machine, "eager")
    names = [candidate.name for candidate in select(plain, None, None)]
    exact: list[Term] = []
    applied: list[Term] = []
    records = []
    loss = _exact_loss(plain, names, oracles.convex, size.dropout)
    for name, settings in DIFFERENCES.items():
        watched = Watched(search(name, size, machine, settings, kernels="eager"), names, machine)
        steps: list[dict[str, float]] = []

        def compare(indirect: Term, watched: Watched = watched, steps: list[Any] = steps) -> Term:
            number = len(steps)
            if number == len(exact):
                is_compared = number + 1 >= FIRST_STEP
                exact.append(watched.exact(loss) if is_compared else indirect)
                applied.append(indirect)
            steps.append(_compare(number + 1, indirect, exact[number]))
            return applied[number]

        torch.manual_seed(0)
        for _ in range(LAST_STEP):
            watched.run(compare)
        records.append(_record(name, MASKS, steps[FIRST_STEP - 1 :]))
    records += [_measure_unrolled(loss, names, size, machine, number) for number in UNROLLED]
    loss = _exact_loss(plain, names, oracles.factored, size.dropout)
    return records + _measure_stock(loss, names, size, machine)


def _measure_unrolled(
    loss: oracles.Loss, names: list[str], size: Size, machine: Machine, unroll_steps: int
) -> dict[str, Any]:
    """Compare the indirect term, which is of the last inner step, with that of all of them."""
    kind = "agwm, central scheme"
    variant = search(kind, size, machine, SEARCHES[kind], unroll_steps, "eager")
    watched, steps = Watched(variant, names, machine), []
    torch.manual_seed(0)
    for number in range(1, UNROLLED_LAST_STEP + 1):

        def compare(indirect: Term, number: int = number) -> Term:
            if number >= FIRST_STEP:
                steps.append(_compare(number, indirect, watched.exact(loss)))
            return indirect

        watched.run(compare)
    return _record(f"{kind}, unroll_steps {unroll_steps}", ALL_STEPS, steps)


def _measure_stock(
    loss: oracles.Loss, names: list[str], size: Size, machine: Machine
) -> list[dict[str, Any]]:
    name = next(name for name, roll_back in STOCKS.items() if not roll_back)
    watched = Watched(stock(name, size, machine, False, kernels="eager"), names, machine)
    steps: dict[str, list[dict[str, float]]] = {MASKS: [], EVALUATION: []}
    torch.manual_seed(0)
    for number in range(1, STOCK_LAST_STEP + 1):

        def compare(indirect: Term, number: int = number) -> Term:
            if number >= FIRST_STEP:
                for against, expected in watched.exact_identity(loss).items():
                    steps[against].append(_compare(number, indirect, expected))
            return indirect

        watched.run(compare)
    return [_record(name, against, compared) for against, compared in steps.items()]
