"""Recording of a search step: what is kept of it, and whether the methods that keep it were reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from agwm.errors import HypergradientError
from agwm.forward_pass import ForwardPass
from agwm.hypergradient.carried import Carried
from agwm.hypergradient.hooks import owner_of
from agwm.hypergradient.inner_step import StepTrace
from agwm.hypergradient.pass_state import PassState
from agwm.hypergradient.rounding import RoundingWatch
from agwm.hypergradient.whole_step import Moment

__all__ = ["Recording", "refuse_unrecorded"]


@dataclass
class Recording:
    """Record that a problem keeps of its present step.

    Attributes:
        trace: The inner step that is to be differentiated.
        window: Micro-batches by their number, where a roll-back takes them again.
        todo: Numbers of the micro-batches that a roll-back still has to take again.
        present: State of the buffers before the roll-back; None: none is going on.
        is_replaying: True in the passes of the finite difference.
        replayed: Number of the micro-batch of such a pass.
        forward: The last forward pass.
        reached: Names of agwm's own methods that were called in this micro-batch.
        total_norm: Norm of all gradients before clipping.
        terms: Indirect terms that this problem's present micro-batch has got, by the ``id`` of the problem
            below: one that is interrupted does not ask for them again.
        rounding: Looks at the first finite differences.
        slopes: W -> G of the present step, added up over its micro-batches.
        carried: W -> what the steps of the present window did to it.
    """

    trace: StepTrace = field(default_factory=StepTrace)
    window: dict[int, Moment] = field(default_factory=dict)
    todo: list[int] = field(default_factory=list)
    present: PassState | None = None
    is_replaying: bool = False
    replayed: int = 0
    forward: ForwardPass = field(default_factory=ForwardPass)
    reached: set[str] = field(default_factory=set)
    total_norm: Tensor | float = 0.0
    terms: dict[int, list[Tensor]] = field(default_factory=dict)
    rounding: RoundingWatch = field(default_factory=RoundingWatch)
    slopes: dict[Tensor, Tensor] = field(default_factory=dict)
    carried: dict[Tensor, Carried] = field(default_factory=dict)
    _mark: list[tuple[int, int]] = field(default_factory=list)

    def mark(self, parameters: Sequence[Tensor]) -> None:
        """Note the gradients as they are."""
        self._mark = _versions(parameters)

    def is_marked(self, parameters: Sequence[Tensor]) -> bool:
        """Return whether the gradients are those noted, with nothing written into them since."""
        return self._mark == _versions(parameters)


def _versions(parameters: Sequence[Tensor]) -> list[tuple[int, int]]:
    gradients = [p.grad for p in parameters]
    return [(0, 0) if g is None else (id(g), g._version) for g in gradients]


def refuse_unrecorded(problem: Any, *names: str) -> None:
    """Raise for a user's method that kept agwm's own from being called.

    Raises:
        HypergradientError: Always, if the problem's class defines one of the methods.
    """
    for name in names:
        owner = owner_of(problem, name)
        if owner is not None:
            raise HypergradientError(
                f"Step of problem {problem.name!r} was not recorded: expected {owner}.{name} to call"
                f" super().{name}, got one that does not. Call it, or take a type of Betty's own."
            )


def refuse_opaque(problem: Any, *names: str) -> None:
    """Raise for a step whose gradients were changed by a user's method.

    Raises:
        HypergradientError: Always.
    """
    owners = [(name, owner_of(problem, name)) for name in names]
    named = [f"{owner}.{name}" for name, owner in owners if owner is not None]
    name = named[0] if named else "a change of the gradients"
    raise HypergradientError(
        f"No derivative of {name}: expected the optimizer to step with the gradients of the loss, clipped"
        " by their norm, got others. Use best_response='sgd' or 'identity'."
    )
