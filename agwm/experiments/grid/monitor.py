"""Show the progress of a grid: a bar over passes, and a line for each cell that ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tqdm import tqdm

from agwm.durations import duration
from agwm.errors import DataError
from agwm.experiments.experiment import describe
from agwm.experiments.grid.tickets import Ticket
from agwm.experiments.record import read_record

__all__ = ["watched"]

_SECONDS_BETWEEN_LOOKS = 0.5


@contextmanager
def watched(
    tickets: Sequence[Ticket], report: Callable[[str], None], progress: bool | None = None
) -> Iterator[None]:
    """Context manager: tell of new records while a grid runs, and estimate the time left from passes.

    Args:
        tickets: The cells that are awaited.
        report: Called with one line a cell.
        progress: Show a bar; None: only on a terminal.
    """
    waiting, total = list(tickets), sum(ticket.passes for ticket in tickets)
    configs = [ticket.cell.config for ticket in tickets]
    also = [name for name in ("model", "train_size") if len({getattr(one, name) for one in configs}) > 1]
    start, passes = time.monotonic(), 0.0
    bar = tqdm(
        total=total,
        desc=f"0/{len(tickets)} runs",
        disable=(None if progress is None else not progress) if tickets else True,
        dynamic_ncols=True,
        smoothing=0,
        bar_format="{desc}: {percentage:3.0f}% of the passes |{bar}| {elapsed} gone, {remaining} left",
    )

    def look() -> None:
        nonlocal passes
        for ticket in [ticket for ticket in waiting if ticket.is_done()]:
            waiting.remove(ticket)
            passes += ticket.passes
            done = f"{len(tickets) - len(waiting)}/{len(tickets)}"
            bar.set_description_str(f"{done} runs", refresh=False)
            bar.update(ticket.passes)
            seconds = (total - passes) * (time.monotonic() - start) / max(passes, 1e-9)
            left = f"; {duration(seconds)} left" if waiting and passes else ""
            report(f"[{done}] {_line(ticket, also)}{left}")

    def watch() -> None:
        while not end.wait(_SECONDS_BETWEEN_LOOKS):
            look()

    end = threading.Event()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        look()
        bar.close()


def _line(ticket: Ticket, also: Sequence[str]) -> str:
    try:
        return describe(read_record(ticket.path), also)
    except DataError as error:  # removed by someone a moment after it was written
        return str(error)
