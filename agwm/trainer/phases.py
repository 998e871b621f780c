"""A Trainer's callbacks: one searches after all others have begun, one merges before all others end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transformers import PrinterCallback, ProgressCallback, TrainerCallback

__all__ = ["with_phases", "without_terminal"]


class _First(TrainerCallback):
    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Merge: what the others save or send at the end is the plain model."""
        self.act()


class _Last(TrainerCallback):
    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Search: the others have begun, and reports know where to write."""
        self.act()


def with_phases(
    callbacks: Sequence[TrainerCallback], search: Callable[[], object], merge: Callable[[], object]
) -> list[TrainerCallback]:
    """Return callbacks with the two phases around them; those of an earlier training go.

    Args:
        callbacks: A Trainer's callbacks.
        search: Called when the others have begun.
        merge: Called before the others end.
    """
    others = [one for one in callbacks if not isinstance(one, _First | _Last)]
    return [_First(merge), *others, _Last(search)]


@contextmanager
def without_terminal(handler: Any) -> Iterator[None]:
    """Leave out the callbacks that write to a terminal.

    Args:
        handler: A Trainer's handler of callbacks.
    """
    every = handler.callbacks
    handler.callbacks = [one for one in every if not isinstance(one, ProgressCallback | PrinterCallback)]
    try:
        yield
    finally:
        handler.callbacks = every
