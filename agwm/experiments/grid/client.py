"""Start a worker process, send it cells, and survive its crash; see :mod:`agwm.experiments.grid.worker`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, cast

from agwm.errors import AgwmError, border, one_line
from agwm.experiments.grid.worker import Stores, answer

__all__ = ["CellWorker", "InProcess"]

_PATIENCE = 5.0  # seconds
# Not "-m": that puts the present folder first on the path, and a random.py in it would be executed.
_START = (
    "import sys; sys.path[:] = [path for path in sys.path if path];"
    " from agwm.experiments.grid.worker import main; main()"
)
_ROOT = Path(__file__).resolve().parents[3]


class InProcess:
    """Run cells in this process: for debugging, and without protection against crashes."""

    pid: int | None = None

    def __init__(self) -> None:
        self._stores = Stores()

    def start(self) -> None:
        """Do nothing: this process runs already."""

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run one cell; see :func:`agwm.experiments.grid.worker.answer`."""
        return answer(request, self._stores, progress=None)

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class CellWorker:
    """A process that runs cells; after a crash, a new process runs the next cell.

    Args:
        threads: Torch threads of the process.
    """

    _all: ClassVar[set[CellWorker]] = set()

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._is_stopped = False
        self._process: subprocess.Popen[str] | None = None
        with border(
            "the temporary folder",
            "room for a worker's messages",
            "Set TMPDIR to a folder that you can write in.",
            problem="Cannot write in",
            error=AgwmError,
        ):
            self._log = tempfile.TemporaryFile()

    @property
    def pid(self) -> int | None:
        """Number of the process; None if it does not run."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process, unless it runs.

        Raises:
            AgwmError: If it cannot start: no cell could be run.
        """
        if self._process is not None and self._process.poll() is None:
            return
        # an empty part of it, as in "/a:", stands for the present folder
        paths = [str(_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONSAFEPATH": "1",  # for its own processes; from Python 3.11 on
            "OMP_NUM_THREADS": str(self._threads),
            "TOKENIZERS_PARALLELISM": "false",
        }
        with border(sys.executable, "a Python to run", problem="Cannot start", error=AgwmError):
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=environment,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the process that leads
            )
        if "ready" not in (self._read() or {}):
            reason = self._end()
            raise AgwmError(
                f"Cannot start a worker: expected a Python that can import agwm, got: {one_line(reason)}."
                " Run python -m agwm.experiments.grid.worker to see more."
            )

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run one cell.

        Args:
            request: See :func:`agwm.experiments.grid.worker.answer`.

        Returns:
            Its answer, or ``{"error": ...}`` that says how the process ended.

        Raises:
            AgwmError: If the process cannot start, or :meth:`stop_all` ended it.
        """
        self.start()
        stdin = cast(IO[str], cast("subprocess.Popen[str]", self._process).stdin)
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except BrokenPipeError:
            return {"error": self._end()}
        reply = self._read()
        if self._is_stopped:
            raise AgwmError("Worker stopped: expected to run on, got an interruption. Start again.")
        if reply is None:
            return {"error": self._end()}
        if "error" in reply:
            self._end()  # memory, or a device, may be in no state for the next cell
        return reply

    @classmethod
    def stop_all(cls) -> None:
        """Kill the workers of this process; callers that wait for an answer get an error.

        Returns when those have given up as well, or after some seconds.
        """
        for worker in list(cls._all):
            worker._is_stopped = True
            if worker._process is not None:
                worker._process.kill()
        end = time.monotonic() + _PATIENCE
        while cls._all and time.monotonic() < end:
            time.sleep(0.05)

    def __enter__(self) -> CellWorker:
        self._all.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._all.discard(self)
        self._end()
        self._log.close()

    def _read(self) -> dict[str, Any] | None:
        line = cast(IO[str], cast("subprocess.Popen[str]", self._process).stdout).readline()
        return json.loads(line) if line.endswith("\n") else None

    def _end(self) -> str:
        """Close the process and say how it ended."""
        process, self._process = self._process, None
        if process is None:
            return "not started"
        for pipe in (process.stdin, process.stdout):
            try:
                cast(IO[str], pipe).close()
            except BrokenPipeError:  # what was not sent to a dead process
                pass
        code = process.wait()
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            hint = " (the system may have run out of memory)" if name == "SIGKILL" else ""
            return f"worker process {process.pid} was ended by {name}{hint}"
        return f"worker process {process.pid} ended with exit code {code}: {self._last_words()}"

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        written = [line.strip() for line in lines if line.strip()]
        return written[-1] if written else "no message"
