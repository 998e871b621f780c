"""Processes that end when the one that started them is killed, which leaves it no time to end them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ending_with"]

_SECONDS_BETWEEN_LOOKS = 1.0


@contextmanager
def ending_with(leader: int) -> Iterator[None]:
    """Within it, end this process at once when its parent is no more: nobody waits for its results.

    A worker of this process ends with it, and the claims that it held count as left behind.

    Args:
        leader: The process that leads; if it is this one, nothing is watched: it may outlive its shell.
    """
    if os.getpid() == leader:
        yield
        return
    parent, end = os.getppid(), threading.Event()

    def watch() -> None:
        while not end.wait(_SECONDS_BETWEEN_LOOKS):
            if os.getppid() != parent:
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        end.set()
