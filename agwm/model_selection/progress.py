"""How far a selection is: a bar on a terminal, and lines elsewhere, such as in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm

from agwm.durations import duration

__all__ = ["Progress"]

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left"
_SECONDS_BETWEEN_LINES = 60.0
_EARLY = 0.2  # part of the work


class Progress:
    """Finished and unfinished passes of a selection.

    Args:
        total: Passes of all cells.
        finished: Passes of the cells that are kept from before.
        shown: True to show the bar; None: only where standard error is a terminal.
        notice: Called with a line, at most once a minute, where ``shown`` is None and no bar is shown.
    """

    def __init__(
        self, total: float, finished: float, shown: bool | None, notice: Callable[[str], None]
    ) -> None:
        self._bar = tqdm(
            total=max(1, round(total)),
            initial=round(finished),
            disable=None if shown is None else not shown,
            dynamic_ncols=True,
            smoothing=0,
            bar_format=_BAR,
        )
        self._notice = notice if shown is None and self._bar.disable else None
        self._total, self._finished, self._new = total, finished, 0.0
        self._stage = ""
        self._start = self._told = time.monotonic()

    def stage(self, name: str) -> None:
        """Name what is done from now on."""
        self._stage = name
        self._bar.set_description_str(name)

    def update(self, passes: float) -> None:
        """Add the passes of a cell that ended now."""
        self._new += passes
        self._bar.update(passes)
        now, left = time.monotonic(), self._total - self._finished - self._new
        if self._notice is not None and now - self._told >= _SECONDS_BETWEEN_LINES and left > 0:
            self._told = now
            done = self._new / (self._total - self._finished)
            # Of the first cells most are still running, and would make the rest look too long.
            rest = f", about {duration((now - self._start) * (1 / done - 1))} left" if done > _EARLY else ""
            self._notice(f"{self._stage}: {1 - left / self._total:.0%} done{rest}.")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
