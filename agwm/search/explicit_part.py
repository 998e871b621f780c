"""Let the inner problem offer the gradients by the mixed weights to the scheme ``explicit``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from agwm.errors import HypergradientError
from agwm.hypergradient.recorded_step import learning
from agwm.hypergradient.search_step import SearchStep
from agwm.mixing.mixup import Mixup
from agwm.mixing.slopes import noting
from agwm.shards import whole

__all__ = ["ExplicitPart"]


class ExplicitPart(SearchStep):
    """Part of the inner problem; it comes before the problem's own base.

    Attributes:
        mixup: The result of ``agwm.inject``.
    """

    mixup: Mixup
    _slopes: dict[str, Tensor]

    def check_explicit(self) -> None:
        """Raise unless alpha of this mixup is all that is learned above.

        Raises:
            HypergradientError: If something else is.
        """
        known = set(map(id, self.mixup.attention.parameters()))
        for parent in self._parents:
            if any(id(parameter) not in known for parameter in learning(parent)):
                raise HypergradientError(
                    f"Scheme 'explicit' does not fit problem {parent.name!r}: expected it to learn alpha of"
                    " the mixup alone, got other parameters. Use scheme 'forward' or 'central'."
                )

    def get_loss(self, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        """Make a pass; note the gradients by the mixed weights where they are asked for."""
        if not self._notes_slopes:
            return super().get_loss(batch)
        self._slopes = {}
        with noting(self.mixup.weights, self._slopes):
            return super().get_loss(batch)

    def backward(self, *args: Any, **kwargs: Any) -> None:
        """Set the gradient by W; see :meth:`agwm.hypergradient.search_step.SearchStep.backward`.

        Raises:
            HypergradientError: If a mixed weight has a gradient, and none by its mixed weights was noted.
        """
        if not self._notes_slopes:
            super().backward(*args, **kwargs)
            return
        with noting(
            self.mixup.weights, self._slopes
        ):  # a layer that is recomputed reads its weights in backward
            super().backward(*args, **kwargs)
        now, scale = self._recording, self._scale()
        if (self._count - 1) % self.gas == 0:
            now.slopes = {}
        for name, candidate in self.mixup.candidates.items():
            weight = candidate.task_weights
            if name in self._slopes:
                slope = self._slopes[name] / scale if scale != 1.0 else self._slopes[name]
                now.slopes[weight] = now.slopes[weight] + slope if weight in now.slopes else slope
            elif weight.grad is not None and self.mixup.attention[name].is_learnable:
                raise HypergradientError(
                    f"No gradient by the mixed weights of {name!r}: expected the model to read them in its"
                    " forward pass, got a pass that keeps no trace of it. Use scheme 'forward'."
                )
        self._slopes = {}

    def explicit_part(
        self, directions: Mapping[Tensor, Tensor], slopes: Mapping[Tensor, Tensor]
    ) -> list[tuple[nn.Parameter, Tensor]]:
        r"""Return :math:`\partial_\alpha \langle \alpha \odot G, u \rangle` of each mixed weight.

        Args:
            directions: W -> u.
            slopes: W -> G.
        """
        return [
            term
            for name, candidate in self.mixup.candidates.items()
            if (weight := candidate.task_weights) in slopes and weight in directions
            for term in self.mixup.weights[name].explicit_part(
                whole(slopes[weight]), whole(directions[weight])
            )
        ]
