"""Passes of micro-batches: a problem whose memory holds the activations of one at a time."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from agwm.batch_rows import micro_batches
from agwm.hypergradient.pass_state import PassState
from agwm.hypergradient.search_step import SearchStep
from agwm.rng import replay

__all__ = ["MicroPasses"]


class MicroPasses(SearchStep):
    """Base of the problems; it cuts each batch, also those of the finite difference.

    The loss of a batch is the mean over its examples, so it is the sum of those of the micro-batches,
    times their shares of the examples. Backward makes the pass of each micro-batch again but for the
    last, in the same dropout masks and buffers: the hypergradient of every scheme is that of the batch.

    Attributes:
        num_micro_batches: Micro-batches that each batch is cut into.
    """

    num_micro_batches: int = 1

    def training_step_exec(self, batch: Any) -> Any:
        """Run ``training_step`` on each micro-batch; see Betty's own.

        Raises:
            DataError: If the batch cannot be cut.
        """
        step = super().training_step_exec
        if self.num_micro_batches == 1:
            return step(batch)
        *parts, (last, share) = micro_batches(batch, self.num_micro_batches)
        outcomes = [(self._checkpointed(step, part), weight) for part, weight in parts]
        return _weighted([*outcomes, (step(last), share)])

    def _checkpointed(self, step: Any, part: Any) -> Any:
        state = PassState.capture(self._scope)
        return checkpoint(
            step,
            part,
            use_reentrant=False,
            preserve_rng_state=False,  # the state of a pass holds more than torch's own
            context_fn=lambda: (nullcontext(), replay(state)),
        )


def _weighted(outcomes: list[tuple[Any, float]]) -> Any:
    """Return the mean of losses, or of dicts of a loss and numbers to log, with these weights."""
    first = outcomes[0][0]
    if isinstance(first, dict):
        return {name: _weighted([(one[name], share) for one, share in outcomes]) for name in first}
    if isinstance(first, Tensor) and first.numel() == 1:
        return torch.stack([one.reshape(()) * share for one, share in outcomes]).sum()
    if isinstance(first, int | float):
        return sum(one * share for one, share in outcomes)
    return outcomes[-1][0]
