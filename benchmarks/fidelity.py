"""How close the indirect term comes to the exact derivative in the same recorded masks.

All agwm schemes walk the same path: each applies the indirect term of the first, so that one exact
derivative a step serves them all. Stock Betty walks its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from agwm.mixing.selection import select
from agwm.rng import RngState
from benchmarks.exact import Draw, ExactModel, adam_response, convex, factored, record_masks
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


class _Watched:
    """A search, watched: what each iteration saw, and the indirect term that it arrived at."""

    def __init__(self, variant: Variant, names: list[str], machine: Machine) -> None:
        self.variant, self.machine = variant, machine
        self.draws: dict[str, list[Draw]] = {}
        self.starts: list[tuple[dict[str, Tensor], dict[str, Any]]] = []
        self.named = {
            name.replace(".parametrizations", "").removesuffix(".original"): parameter
            for name, parameter in variant.model.named_parameters()
        }
        attention: Any = variant.attention
        pairs = zip(attention.rows, attention.columns, strict=True) if hasattr(attention, "rows") else None
        self.pairs = dict(zip(names, pairs or [attention[name].factors() for name in names], strict=True))
        self._follow("inner")
        self._follow("outer")
        variant.optimizer.register_step_pre_hook(self._before_inner_step)

    def _follow(self, kind: str) -> None:
        problem = getattr(self.variant.engine, kind)
        own = problem.training_step

        def training_step(batch: Any) -> Tensor:
            state = RngState.capture(self.machine.device)
            loss = own(batch)
            self.draws.setdefault(kind, []).append(Draw(dict(batch), state, float(loss.detach())))
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
        self.draws, self.starts = {}, []

        def wrap(own: Callable[..., Any]) -> Callable[..., None]:
            def captured(vector: Any, curr: Any, prev: Any, sync: bool) -> None:
                outer = prev.trainable_parameters()
                terms = dict(zip(map(id, outer), own(vector, curr, prev, False), strict=True))
                ordered = [vector for pair in self.pairs.values() for vector in pair]
                applied = then([terms[id(vector)].detach().clone() for vector in ordered])
                found = dict(zip(map(id, ordered), applied, strict=True))
                prev.set_grads(outer, [found[id(parameter)].clone() for parameter in outer])

            return captured

        with replaced_hypergradient(self.variant, wrap):
            self.variant.step()

    def exact(self, model: ExactModel, response: str, masked: Sequence[bool] = (True,)) -> list[Term]:
        """Return exact indirect terms of the present iteration, before alpha is updated.

        Args:
            model: The loss in float64.
            response: ``"optimizer"`` (u through the step of AdamW, taken before it) or ``"identity"``
                (u is -v, taken after it).
            masked: For each term, whether the inner loss is in the inner step's masks or in evaluation
                mode.
        """
        inner, masks = self.draws["inner"][0], self._masks("inner")
        (before, states), updated = self.starts[0], self.weights()
        model.check(before, self.pairs, inner, masks, TOLERANCE[self.machine.precision])
        vector, groups = self._outer_gradient(model, updated), self._groups()

        def through_adam(name: str, gradient: Tensor) -> Tensor:
            return adam_response(gradient, vector[name], groups[name], states[name])

        is_adam = response == "optimizer"
        return [
            model.indirect(
                before if is_adam else updated,
                self.pairs,
                inner,
                masks if is_masked else None,
                through_adam if is_adam else lambda name, _: -vector[name],
            )
            for is_masked in masked
        ]

    def exact_unrolled(self, model: ExactModel) -> Term:
        """Return the exact indirect term through all inner steps of the present iteration.

        Args:
            model: The loss in float64.
        """
        vector, groups = self._outer_gradient(model, self.weights()), self._groups()
        adjoint = {name: [v, torch.zeros_like(v), torch.zeros_like(v)] for name, v in vector.items()}
        total: Term = []
        for number, (before, states) in reversed(list(enumerate(self.starts))):
            draw, masks = self.draws["inner"][number], self._masks("inner", number)
            model.check(before, self.pairs, draw, masks, TOLERANCE[self.machine.precision])
            optimizer = {name: (groups[name], states[name]) for name in self.named}
            adjoint, term = model.step_back(before, self.pairs, draw, masks, optimizer, adjoint)
            total = [a + b for a, b in zip(total, term, strict=True)] if total else term
        return total

    def _masks(self, kind: str, number: int = 0) -> list[Tensor]:
        return record_masks(self.variant.model, self.draws[kind][number], self.machine)

    def _groups(self) -> dict[str, dict[str, Any]]:
        groups = {id(p): group for group in self.variant.optimizer.param_groups for p in group["params"]}
        return {name: groups[id(parameter)] for name, parameter in self.named.items()}

    def _outer_gradient(self, model: ExactModel, updated: dict[str, Tensor]) -> dict[str, Tensor]:
        outer, masks = self.draws["outer"][0], self._masks("outer")
        model.check(updated, self.pairs, outer, masks, TOLERANCE[self.machine.precision])
        return model.gradient(updated, self.pairs, outer, masks)


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
    model = ExactModel(plain, convex, size.dropout)
    for name, settings in DIFFERENCES.items():
        watched = _Watched(search(name, size, machine, settings, kernels="eager"), names, machine)
        steps: list[dict[str, float]] = []

        def compare(indirect: Term, watched: _Watched = watched, steps: list[Any] = steps) -> Term:
            number = len(steps)
            if number == len(exact):
                is_compared = number + 1 >= FIRST_STEP
                exact.append(watched.exact(model, "optimizer")[0] if is_compared else indirect)
                applied.append(indirect)
            steps.append(_compare(number + 1, indirect, exact[number]))
            return applied[number]

        torch.manual_seed(0)
        for _ in range(LAST_STEP):
            watched.run(compare)
        records.append(_record(name, MASKS, steps[FIRST_STEP - 1 :]))
    records += [_measure_unrolled(model, names, size, machine, number) for number in UNROLLED]
    return records + _measure_stock(ExactModel(plain, factored, size.dropout), names, size, machine)


def _measure_unrolled(
    model: ExactModel, names: list[str], size: Size, machine: Machine, unroll_steps: int
) -> dict[str, Any]:
    """Compare the indirect term, which is of the last inner step, with that of all of them."""
    kind = "agwm, central scheme"
    variant = search(kind, size, machine, SEARCHES[kind], unroll_steps, "eager")
    watched, steps = _Watched(variant, names, machine), []
    torch.manual_seed(0)
    for number in range(1, UNROLLED_LAST_STEP + 1):

        def compare(indirect: Term, number: int = number) -> Term:
            if number >= FIRST_STEP:
                steps.append(_compare(number, indirect, watched.exact_unrolled(model)))
            return indirect

        watched.run(compare)
    return _record(f"{kind}, unroll_steps {unroll_steps}", ALL_STEPS, steps)


def _measure_stock(
    model: ExactModel, names: list[str], size: Size, machine: Machine
) -> list[dict[str, Any]]:
    name = next(name for name, roll_back in STOCKS.items() if not roll_back)
    watched = _Watched(stock(name, size, machine, False, kernels="eager"), names, machine)
    steps: dict[str, list[dict[str, float]]] = {MASKS: [], EVALUATION: []}
    torch.manual_seed(0)
    for number in range(1, STOCK_LAST_STEP + 1):

        def compare(indirect: Term, number: int = number) -> Term:
            if number >= FIRST_STEP:
                terms = watched.exact(model, "identity", [against == MASKS for against in steps])
                for compared, expected in zip(steps.values(), terms, strict=True):
                    compared.append(_compare(number, indirect, expected))
            return indirect

        watched.run(compare)
    return [_record(name, against, compared) for against, compared in steps.items()]
