"""A random stream of one part of a program: what it draws changes nothing that the other parts draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agwm.errors import DataError
from agwm.hypergradient.pass_state import PassState, Scope
from agwm.rng import RngState, generator_state
from agwm.search.forking import forked, forked_state

__all__ = ["RandomStream"]


class RandomStream:
    """Random states of one part of a program, apart from those of the rest.

    Between :meth:`enter` and :meth:`leave` the generators are in states of the stream's own, which go on
    from one time to the next. A generator that is new to the stream is forked from the state that it has
    outside (:func:`agwm.search.forking.forked`): the seed of the program decides the stream, and nothing is
    drawn for it.
    """

    def __init__(self) -> None:
        self._reached: PassState | None = None

    def enter(self, scope: Scope) -> PassState:
        """Put the generators into the states of the stream.

        Args:
            scope: The device whose global generator is meant beside those of Python, numpy and the CPU, and
                generators of one's own. Its modules and buffers are left alone.

        Returns:
            The states that they had, for :meth:`leave`.
        """
        outside = PassState.capture(Scope(scope.device, generators=scope.generators))
        self._inside(outside).restore()
        return outside

    def leave(self, outside: PassState) -> None:
        """Keep the states that the stream has reached, and put the generators back.

        Args:
            outside: What :meth:`enter` returned.
        """
        self._reached = outside.present()
        outside.restore()

    def _inside(self, outside: PassState) -> PassState:
        """Return the states of the stream, of the very generators that are present outside."""
        own, scope = self._reached, outside.scope
        pairs = () if own is None else zip(own.scope.generators, own.generators, strict=True)
        known = {id(generator): state for generator, state in pairs}
        states = [
            known[id(generator)] if id(generator) in known else generator_state(forked(generator))
            for generator in scope.generators
        ]
        return PassState(scope, forked_state(outside.random) if own is None else own.random, states, [])

    def to_tree(self) -> dict[str, Any] | None:
        """Return the stream as nested dicts of numbers and tensors, for a checkpoint; None: not begun."""
        if self._reached is None:
            return None
        return {"random": self._reached.random.to_tree(), "generators": self._reached.generators}

    def load_tree(self, tree: Mapping[str, Any] | None, scope: Scope) -> None:
        """Go on from :meth:`to_tree`.

        Args:
            tree: The stream.
            scope: As for :meth:`enter`.

        Raises:
            DataError: If there are other generators.
        """
        if tree is None:
            self._reached = None
            return
        states = list(tree["generators"])
        if len(states) != len(scope.generators):
            raise DataError(
                f"Cannot resume a random stream: expected {len(states)} generators of one's own, got"
                f" {len(scope.generators)}. Resume with the problems that the checkpoint was written with."
            )
        scope = Scope(scope.device, generators=scope.generators)
        self._reached = PassState(scope, RngState.from_tree(tree["random"]), states, [])
