"""Progress bars that tell phase, step, losses and time left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from torch import Tensor
from tqdm import tqdm

from agwm.processes import process_number

__all__ = ["Progress"]

_SECONDS_BETWEEN_LOSSES = 0.5


class Progress:
    """A bar on standard error for one phase of a run.

    Args:
        phase: Name of the running phase, e.g. ``"search 2/5"``.
        total: Number of steps.
        enabled: Show it; None: only where standard error is a terminal. Of several processes the first
            alone shows one.
        initial: Steps already done (after resuming).
    """

    def __init__(self, phase: str, total: int, enabled: bool | None = None, initial: int = 0) -> None:
        disable = None if enabled is None else not enabled
        self._bar = tqdm(
            total=total,
            initial=initial,
            desc=phase,
            unit="step",
            disable=process_number() > 0 or disable,
            dynamic_ncols=True,
            leave=False,
        )
        self._shown = 0.0

    def step(self, **losses: Tensor | float | None) -> None:
        """Advance by one step; losses are read from the device at most twice a second."""
        if not self._bar.disable and time.monotonic() - self._shown > _SECONDS_BETWEEN_LOSSES:
            self._shown = time.monotonic()
            shown = {key: f"{float(loss):.3f}" for key, loss in losses.items() if loss is not None}
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update(1)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        self._bar.close()
