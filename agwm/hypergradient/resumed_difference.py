"""A finite difference that goes on where it was interrupted, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from agwm.errors import HypergradientError
from agwm.hypergradient.finite_difference import Gradient, Scheme, _Displaced, mixed_derivative

__all__ = ["Difference"]


@dataclass
class Difference:
    """One mixed derivative; see :func:`mixed_derivative`, which takes it where nothing interrupts.

    ``base`` is the only copy of the weights before the step, and displaced in place. After an interruption
    inside a pass it is known how far: the passes that are left are made from there.

    Attributes:
        weights: W.
        direction: u.
        norm: Norm of u.
        step: The number that multiplies u.
        scheme: ``"central"`` or ``"forward"``.
        base: The point to differentiate at; None: the present weights.
        base_gradient: The gradient at ``base``, where known.
        found: The gradients of the passes that are made.
        is_begun: True from the first pass on.
        in_pass: True while a pass is made.
    """

    weights: Sequence[nn.Parameter]
    direction: list[Tensor]
    norm: float
    step: float
    scheme: Scheme
    base: list[Tensor] | None
    base_gradient: list[Tensor] | None
    found: list[list[Tensor]] = field(default_factory=list)
    is_begun: bool = False
    in_pass: bool = False

    @property
    def ends(self) -> tuple[list[Tensor], list[Tensor]]:
        """The gradients whose difference was taken, the farther end first."""
        if self.scheme == "central":
            return self.found[0], self.found[1]
        return self.found[-1], self.found[0] if self.base_gradient is None else self.base_gradient

    def take(self, gradient: Gradient) -> list[Tensor]:
        """Return the derivative; make the passes that are left.

        Raises:
            HypergradientError: If it was interrupted between two passes, while W was being displaced.
        """

        def watched() -> list[Tensor]:
            self.in_pass = True
            self.found.append(gradient())
            self.in_pass = False
            return self.found[-1]

        if self.base is None or not self.is_begun:
            self.found, self.is_begun, self.in_pass = [], self.base is not None, False
            return mixed_derivative(
                watched,
                self.weights,
                self.direction,
                self.step,
                self.scheme,
                self.base,
                self.base_gradient,
            )
        if not self.in_pass:
            raise HypergradientError(
                "Finite difference cannot go on: expected an interruption in a pass, got one while the"
                " weights were displaced. Resume from a checkpoint, or build anew."
            )
        return self._go_on(watched)

    def _go_on(self, gradient: Gradient) -> list[Tensor]:
        scales = [self.step, -self.step] if self.scheme == "central" else [0.0, self.step]
        if self.scheme == "forward" and self.base_gradient is not None:
            scales = [self.step]
        left = scales[len(self.found) :]
        with _Displaced(self.weights, self.base, self.direction) as displaced:
            displaced.at = left[0]
            for scale in left:
                if scale != displaced.at:
                    displaced.move_to(scale)
                gradient()
        (above, below), width = self.ends, 2.0 * self.step if self.scheme == "central" else self.step
        return [(high - low).div_(width) for high, low in zip(above, below, strict=True)]
