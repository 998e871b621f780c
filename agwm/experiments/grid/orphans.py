"""End a process when its parent is killed: the parent has no time to end it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ending_with"]

_SECONDS_BETWEEN_LOOKS = 1.0


@contextmanager
def ending_with(leader: int) -> Iterator[None]:
    """Context manager: end this process at once if its parent dies, because nobody waits for its results.

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
