"""Let the outer problem draw from a random stream of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agwm.hypergradient.pass_state import Scope
from agwm.hypergradient.search_step import SearchStep
from agwm.search.random_stream import RandomStream

__all__ = ["OwnStream"]


class OwnStream(SearchStep):
    """Part of the outer problem; it comes before the problem's own base.

    An outer step draws from its own stream: dropout masks, batches, and whatever a subclass draws. The
    inner passes after it see the random state that they would see without it.
    """

    _random_stream: RandomStream
    _inner_draws: Scope | None

    def initialize(self) -> None:
        """Set up the problem, whose stream is not begun."""
        self._random_stream, self._inner_draws = RandomStream(), None
        super().initialize()

    def train(self) -> None:
        """Switch to training mode; the next step looks for generators anew."""
        super().train()
        self._inner_draws = None

    @property
    def _drawn_by_inner(self) -> Scope:
        """The global generators, and those of one's own that the inner passes may draw from.

        Generators that this problem alone knows belong to no inner pass, and keep the seeds that they have.
        """
        if self._inner_draws is None:
            self._inner_draws = Scope.of(*self._children, apart_from=[self])
        return self._inner_draws

    def step_normal(self, global_step: int | None = None) -> None:
        """Take a step in the stream; see :class:`agwm.hypergradient.whole_step.WholeStep`."""
        with self._half_done("a change of random streams"):
            outside = self._random_stream.enter(self._drawn_by_inner)
        try:
            super().step_normal(global_step)
        finally:
            with self._half_done("a change of random streams"):
                self._random_stream.leave(outside)

    def to_tree(self) -> dict[str, Any]:
        """Return all state of the problem, the stream included."""
        return {**super().to_tree(), "random_stream": self._random_stream.to_tree()}

    def load_tree(self, tree: Mapping[str, Any]) -> None:
        """Take back the state of :meth:`to_tree`."""
        super().load_tree(tree)
        self._random_stream.load_tree(tree["random_stream"], self._drawn_by_inner)
