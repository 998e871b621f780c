"""Kill a process before its n-th operation on files."""

from __future__ import annotations

import multiprocessing
import os
import signal

import agwm.folders

FORK = multiprocessing.get_context("fork")
OPERATIONS = ("mkdir", "rename", "replace", "link", "unlink", "rmdir", "fsync", "chmod")


def operations(act, kill_at=None):
    """Call ``act`` in a child process and kill it before its n-th file operation; return their number."""

    def child(queue):
        count = [0]

        def watched(function):
            def call(*args, **options):
                count[0] += 1
                if count[0] == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **options)

            return call

        for name in OPERATIONS:
            setattr(os, name, watched(getattr(os, name)))
        agwm.folders._exchange = watched(agwm.folders._exchange)
        act()
        queue.put(count[0])

    queue = FORK.SimpleQueue()
    process = FORK.Process(target=child, args=(queue,))
    process.start()
    process.join()
    if kill_at is not None:
        assert process.exitcode == -signal.SIGKILL
        return None
    return queue.get()
