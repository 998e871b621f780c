"""Hand cells to a process of their own, which may be killed without harm to the others."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import ClassVar

from joblib.externals.loky import ProcessPoolExecutor

from agwm.errors import AgwmError
from agwm.experiments.grid.tickets import Ticket
from agwm.experiments.grid.worker import Ended, prepare, run_cell

__all__ = ["PATIENCE", "OneWorker"]

_TRIES = 2  # of a cell whose process is killed
PATIENCE = 10.0  # seconds for a checkpoint, before a worker is killed


class OneWorker:
    """A process that runs one cell after another; a new one takes its place when it is killed.

    Args:
        threads: Torch threads of the process.
    """

    _all: ClassVar[set[OneWorker]] = set()

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._is_stopped = False
        self._pid: int | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._future: Future[Ended] | None = None

    def run(self, ticket: Ticket) -> Ended:
        """Run a cell. One whose process is killed is tried once more.

        Raises:
            AgwmError: If no process can be started, the record cannot be written, or :meth:`stop_all` was
                called.
        """
        ended = ""
        for _ in range(_TRIES):
            try:
                self._future = self._started().submit(run_cell, ticket, self._threads)
                found = self._future.result()
            except BrokenProcessPool as error:
                self._end()
                if self._is_stopped:
                    raise AgwmError("Worker stopped: expected to run on, got an interruption.") from None
                ended = f"its process was ended by {_cause(error)}, {_TRIES} times"
                continue
            if not found.is_clean:
                self._end()
            return found
        return Ended(ended, is_clean=False)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is not None:
            return self._pool
        environment = {"OMP_NUM_THREADS": str(self._threads), "TOKENIZERS_PARALLELISM": "false"}
        self._pool = ProcessPoolExecutor(1, initializer=prepare, env=environment)
        try:
            # loky starts a process anew whose memory has grown much since its first task, so it is this one
            self._pid = self._pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            self._end()
            raise AgwmError(
                f"Cannot start a worker: expected a Python that can import agwm, got its end by"
                f" {_cause(error)}. Run with --jobs 0 to see more."
            ) from None
        return self._pool

    @classmethod
    def stop_all(cls) -> None:
        """End the workers of this process; they write a checkpoint first.

        Who waits for a cell gets an error. Returns when the processes are gone.
        """
        _stop(list(cls._all))
        end = time.monotonic() + PATIENCE
        while cls._all and time.monotonic() < end:  # the loops give up
            time.sleep(0.05)

    def __enter__(self) -> OneWorker:
        self._all.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._all.discard(self)
        if kind is not None:
            _stop([self])
        self._end()

    def _end(self) -> None:
        pool, self._pool, self._pid = self._pool, None, None
        if pool is not None:
            pool.shutdown(wait=True, kill_workers=True)


def _stop(workers: Sequence[OneWorker]) -> None:
    for worker in workers:
        worker._is_stopped = True
        if worker._pid is not None:
            with suppress(ProcessLookupError):
                os.kill(worker._pid, signal.SIGTERM)
    wait([worker._future for worker in workers if worker._future is not None], PATIENCE)
    for worker in workers:
        worker._end()


def _cause(error: BaseException) -> str:
    """Return what ended a process: the name of the signal, or its exit code."""
    found = re.search(r"\{(\w+)\((-?\d+)\)", str(error))
    if found is None:
        return "an unknown cause"
    name = found[1] if int(found[2]) < 0 else f"exit code {found[2]}"
    return f"{name} (the system may have run out of memory)" if name == "SIGKILL" else name
