"""A finite difference that is mostly rounding: notice it at the first outer steps, and warn once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agwm.errors import AgwmWarning
from agwm.hypergradient.optimizers import InnerStep

__all__ = ["RoundingWatch", "is_first_of_adam", "rounding_units"]

_LOOKS = 3  # outer steps that are looked at; each look makes a GPU wait once
_LEAST_UNITS = {torch.float16: 0.1, torch.bfloat16: 0.1}
_LEAST_UNITS_ELSE = 10.0


def rounding_units(above: Sequence[Tensor], below: Sequence[Tensor], dtype: torch.dtype) -> float:
    """Return how many times the rounding of two gradients their difference is.

    Entries that are equal bit for bit count on neither side: where the inner loss does not depend on W
    and alpha together, they stay equal, and zero is the right derivative.

    Args:
        above: Gradients at one end of the difference.
        below: Those at the other end.
        dtype: The coarsest dtype that the passes round to.

    Returns:
        The norm of the difference over that of the gradients times the rounding unit; infinite where no
        entry differs, or a gradient is not finite.
    """
    device = above[0].device
    totals = [
        torch.stack([(high - low).norm(), (high * (high != low)).norm()]).to(device)
        for high, low in zip(above, below, strict=True)
    ]
    change, size = torch.stack(totals).norm(dim=0).tolist()
    return change / (torch.finfo(dtype).eps * size) if 0.0 < size < float("inf") else float("inf")


def is_first_of_adam(step: InnerStep) -> bool:
    """Return whether this is Adam's first step, whose derivative all but vanishes: rounding is most."""
    return step.kind != "SGD" and any(float(state.get("step", 0.0)) == 1.0 for state in step.states)


@dataclass
class RoundingWatch:
    """Looks at the first differences of a problem, and warns at most once.

    The limits are measured with the default epsilon on the models of ``default_epsilon`` and on a
    pretrained MiniLM, its biases and LoRA, 178 differences in float32 and 114 under autocast. Below 10
    units in float32 the error was 10 % or more. Under autocast gradients average many roundings: below 0.1
    units it was 30 % or more, and down to 0.2 it can be 5 %.

    Attributes:
        left: Outer steps that are still looked at.
    """

    left: int = _LOOKS

    def look(
        self, above: Sequence[Tensor], below: Sequence[Tensor], dtype: torch.dtype, epsilon: float
    ) -> None:
        """Warn if the difference is rounding.

        Args:
            above: Gradients at one end of the difference.
            below: Those at the other end.
            dtype: The coarsest dtype that the passes round to.
            epsilon: The norm of the displacement.
        """
        self.left -= 1
        units, least = rounding_units(above, below, dtype), _LEAST_UNITS.get(dtype, _LEAST_UNITS_ELSE)
        if units < least:
            self.left = 0
            warnings.warn(
                f"Indirect term is mostly rounding: expected two gradients that differ by {least:g} or more"
                f" times their rounding, got {units:.2g} at epsilon {epsilon:.2g}. Raise"
                " hypergradient.epsilon, or use scheme='central' or a finer precision.",
                AgwmWarning,
                stacklevel=2,
            )
