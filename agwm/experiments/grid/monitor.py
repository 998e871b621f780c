"""Show the progress of a grid: a bar over passes, and a line for each cell that ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from tqdm import tqdm

from agwm.durations import duration
from agwm.errors import DataError
from agwm.experiments.experiment import describe
from agwm.experiments.grid.tickets import Ticket
from agwm.experiments.record import read_record

__all__ = ["Monitor"]

_SECONDS_BETWEEN_LOOKS = 0.5


class Monitor:
    """Watch for new records while a grid runs, and estimate the time left from passes.

    Args:
        tickets: The cells that are awaited.
        report: Called with one line a cell.
        progress: Show a bar; None: only on a terminal.
    """

    def __init__(
        self, tickets: Sequence[Ticket], report: Callable[[str], None], progress: bool | None = None
    ) -> None:
        self._waiting = list(tickets)
        configs = [ticket.cell.config for ticket in tickets]
        several = (name for name in ("model", "train_size") if len({getattr(c, name) for c in configs}) > 1)
        self._also = tuple(several)
        self._report = report
        self._total = len(tickets)
        self._passes = sum(ticket.passes for ticket in tickets)
        self._passes_done = 0.0
        self._bar = tqdm(
            total=self._passes,
            desc=f"0/{self._total} runs",
            disable=(None if progress is None else not progress) if tickets else True,
            dynamic_ncols=True,
            smoothing=0,
            bar_format="{desc}: {percentage:3.0f}% of the passes |{bar}| {elapsed} gone, {remaining} left",
        )
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Monitor:
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        self._look()
        self._bar.close()

    def _watch(self) -> None:
        while not self._end.wait(_SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self) -> None:
        for ticket in [ticket for ticket in self._waiting if ticket.is_done()]:
            self._waiting.remove(ticket)
            self._passes_done += ticket.passes
            done = self._total - len(self._waiting)
            self._bar.set_description_str(f"{done}/{self._total} runs", refresh=False)
            self._bar.update(ticket.passes)
            self._report(f"[{done}/{self._total}] {self._line(ticket)}{self._left()}")

    def _line(self, ticket: Ticket) -> str:
        try:
            return describe(read_record(ticket.path), self._also)
        except DataError as error:  # removed by someone a moment after it was written
            return str(error)

    def _left(self) -> str:
        if not self._waiting:
            return ""
        rate = self._passes_done / max(time.monotonic() - self._start, 1e-9)
        left = self._passes - self._passes_done
        return f"; {duration(left / rate)} left" if rate > 0 else ""
