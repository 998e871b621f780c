"""Interface of a training that can be taken up where it was stopped."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Resumable"]


class Resumable(Protocol):
    """State of a training."""

    step: int

    def to_tree(self) -> Any:
        """Return everything that the next step depends on."""

    def load_tree(self, tree: Any) -> None:
        """Take back the state of :meth:`to_tree`."""

    def result_tree(self) -> Any:
        """Return what the training left for the rest of the run."""

    def load_result(self, tree: Any) -> None:
        """Take back the state of :meth:`result_tree`."""
