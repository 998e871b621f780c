"""End a worker process when its parent is killed: the parent has no time to end it."""

from __future__ import annotations

import os
import signal
import threading
import time

__all__ = ["end_with_parent"]

_SECONDS_BETWEEN_LOOKS = 0.5


def end_with_parent() -> None:
    """Watch the parent of this process from now on, and end at once when it is gone.

    Ctrl-C, which reaches all processes of a terminal, is left to the parent.
    """
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
