"""Checkpoints of a run: every training in it is taken up where it was stopped, killed or cut off.

A run makes its trainings in an order that settings, data and seeds decide, so a run that is started again
goes the same way: a training that was finished takes back what it ended with, the one that was interrupted
goes on at its newest good checkpoint, and those behind it begin.

Of several processes each has a folder, for random states of its own, and for its parts of sharded weights.
They write after the same steps, and go on from the newest checkpoint that all of them can read.
"""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import torch
from filelock import FileLock, Timeout

from agwm._version import __version__
from agwm.errors import CheckpointError, ConfigError, DataError, border, shown
from agwm.files import load_tree, make_folder, read_json, save_tree, write_json
from agwm.processes import gathered, num_processes, process_number
from agwm.resumable import Resumable
from agwm.sharded_tree import parts_of, with_shards

__all__ = ["Checkpoints", "Stage"]

_PARTS = {"facts", "name", "state"}  # of a checkpoint
_FACTS, _LOCK, _STATE = "run.json", ".lock", "the state of this training"
_KEPT = 2  # of the training that is going on
_SHARE = 1 / 30  # of the time that writing may take where no number of steps is given
_FIRST = 10.0  # seconds before the first checkpoint, whose time is not known
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Checkpoints:
    """The checkpoints of one run, in a folder that is its own.

    As a context manager it holds the folder, so that no other process writes there, and lets Ctrl-C and
    SIGTERM write a checkpoint at the end of the step before they do what they do; a second one does it at
    once. That needs the main thread; handlers are put back afterwards.

    Args:
        folder: Made where it is missing.
        facts: What decides the run's outcome beside the versions of agwm and torch: settings, fingerprints
            of data and model, device. JSON.
        step: Steps between checkpoints; None: as many as keep the time of writing below a thirtieth.
        resume: Go on from what is there; if not, it is removed.
        tell: Called with what the user should know, a line each.
        remedy: What to do about checkpoints of another run.
    """

    cost: ClassVar[float] = 0.0  # seconds that the last checkpoint of this process took to write

    def __init__(
        self,
        folder: str | Path,
        facts: Mapping[str, Any],
        *,
        step: int | None = None,
        resume: bool = True,
        tell: Callable[[str], None] = lambda line: None,
        remedy: str = "Pass another checkpoint_dir, or resume=False to start anew.",
    ) -> None:
        self.folder, self.step = Path(folder), step
        versions = {"agwm": __version__, "torch": str(torch.__version__)}
        self.facts = json.loads(json.dumps({**facts, **versions}))  # as it is read again
        self.resume, self.tell, self.remedy = resume, tell, remedy
        self.seconds = 0.0  # that the last checkpoint took to write
        self._count = 0
        self._asked: int | None = None  # the signal that came
        self.signal: int | None = None  # the one that all processes know of
        self._handlers: dict[int, Any] = {}
        self._lock = FileLock(self.folder / _LOCK)

    def __enter__(self) -> Checkpoints:
        """Take the folder.

        Raises:
            ConfigError: If another process has it, or what is there is of another run.
            DataError: If it cannot be written.
        """
        make_folder(self.folder)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise ConfigError(
                f"Checkpoints in {shown(self.folder)} are in use: expected a run of its own, got another"
                " process that writes there. Wait for it, or give another folder."
            ) from None
        try:
            if not self.resume:
                self._clear()
            self.refuse_others()
            write_json(self.folder / _FACTS, self.facts)
        except BaseException:
            self._lock.release()
            raise
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if callable(old := signal.getsignal(number)) or old == signal.SIG_DFL:
                    self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._put_handlers_back()
        self._lock.release()
        if self._asked is not None and kind is None:
            signal.raise_signal(self._asked)

    def stage(self, name: str) -> Stage:
        """Return the checkpoints of the next training."""
        self._count += 1
        return Stage(self, self._count, name)

    def discard(self) -> None:
        """Remove all checkpoints, and the folder unless it holds something else: the run is done."""
        self._clear()
        for name in (_FACTS, _LOCK):
            (self.folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def stop_if_asked(self) -> None:
        """Do what a signal asked for that came before :meth:`share`: all processes do it after one step."""
        if self.signal is None:
            return
        number, self.signal, self._asked = self.signal, None, None
        handlers = dict(self._handlers)
        self._put_handlers_back()
        signal.raise_signal(number)
        for own in handlers:  # the user's own handler took it: the run goes on
            self._handlers[own] = signal.signal(own, self._note)

    def share(self, flag: bool) -> bool:
        """Return True if a flag is set in any process, and agree on the signal that one of them got."""
        found = gathered((flag, self._asked))
        self.signal = max(number or 0 for _, number in found) or None
        return any(flag for flag, _ in found)

    def _note(self, number: int, frame: Any) -> None:
        is_second, self._asked = self._asked is not None, number
        if is_second:
            self.signal = number
            self.stop_if_asked()

    def _put_handlers_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def refuse_others(self) -> None:
        """Raise if the folder holds checkpoints of another run, which are not to be removed.

        Raises:
            ConfigError: If it does; names the first key that differs.
        """
        if self.resume and any(self.folder.glob("*.safetensors")):
            with suppress(DataError):  # each checkpoint has the facts too
                self.check_same(read_json(self.folder / _FACTS))

    def check_same(self, found: Any) -> None:
        """Raise unless what was found is of this run.

        Raises:
            ConfigError: If it is not; names the first key that differs.
        """
        found = found if isinstance(found, dict) else {}
        for key in (*self.facts, *found):
            if self.facts.get(key) != found.get(key):
                raise ConfigError(
                    f"Checkpoints in {shown(self.folder)} are of another run: expected {key}"
                    f" {shown(self.facts.get(key))}, got {shown(found.get(key))}. {self.remedy}"
                )

    def _clear(self) -> None:
        for path in self.folder.glob("*.safetensors"):
            path.unlink(missing_ok=True)


class Stage:
    """The checkpoints of one training of a run.

    Args:
        run: The run's checkpoints.
        number: Its place in the run, from 1.
        name: Its name, for messages.
    """

    def __init__(self, run: Checkpoints, number: int, name: str) -> None:
        self.run, self.number, self.name = run, number, name
        self._last = time.monotonic()
        self._last_step = 0

    def take_up(self, state: Resumable) -> bool:
        """Load the newest good checkpoint, if there is one.

        Returns:
            True if the training was finished.

        Raises:
            ConfigError: If a checkpoint is of another run.
            CheckpointError: If it holds another state than this training has.
        """
        done = self._path("done")
        for path in self._in_common([*([done] if done.is_file() else []), *reversed(self._steps())]):
            tree = self._tree_of(path)
            if tree is None:
                continue
            self.run.check_same(tree["facts"])
            # what does not fit is half loaded then: there is no way back to the checkpoint before it
            with border(path, _STATE, self.run.remedy, problem="Cannot go on from", error=CheckpointError):
                load = state.load_result if path == done else state.load_tree
                load(with_shards(tree["state"], state.to_tree))
            if path != done and not process_number():
                self.run.tell(f"Going on from step {state.step} of phase {self.name!r}.")
            self._last, self._last_step = time.monotonic(), state.step
            return path == done
        return False

    def _tree_of(self, path: Path) -> dict[str, Any] | None:
        """Return what :meth:`_write` wrote; None of a file that is damaged, or of another kind: told."""
        try:
            tree = load_tree(path)
            if isinstance(tree, dict) and set(tree) == _PARTS:
                return tree
            error = DataError(
                f"Cannot read {shown(path)}: expected a checkpoint of a run, got a file of another kind."
            )
        except DataError as damage:
            error = damage
        self.run.tell(f"{error} The checkpoint before it is used.")
        return None

    def _in_common(self, paths: list[Path]) -> list[Path]:
        """Return the files that all processes have in a good state; in one process all of them."""
        if num_processes() == 1:
            return paths
        known = gathered([path.name for path in paths if self._tree_of(path) is not None])
        return [path for path in paths if all(path.name in names for names in known)]

    def after_step(self, state: Resumable) -> None:
        """Write a checkpoint where one is due or a signal asks for it; then do what the signal asks for."""
        is_due = self.run.share(self._is_due(state.step))
        if self.run.signal or is_due:
            self._write(f"{state.step:08d}", state.to_tree())
            self._last_step = state.step
            for path in self._steps()[:-_KEPT]:
                path.unlink(missing_ok=True)
        if self.run.signal:
            gathered(None)  # all have written it, before one ends and a launcher ends the others at once
            if not process_number():
                self.run.tell(
                    f"Stopped after step {state.step} of phase {self.name!r}; the checkpoint is written."
                )
            self.run.stop_if_asked()

    def finish(self, state: Resumable) -> None:
        """Keep what the training ended with, unless making it again is cheaper than writing it."""
        if self.run.share(self.run.step is not None or self._has_time()):
            self._write("done", state.result_tree())
            self.run.share(True)  # all have it, before the steps go that they have in common
            for path in self._steps():
                path.unlink(missing_ok=True)
        self.run.stop_if_asked()

    def _is_due(self, step: int) -> bool:
        own = self.run.step
        return self._has_time() if own is None else step - self._last_step >= own

    def _has_time(self) -> bool:
        first = max(_FIRST, Checkpoints.cost / _SHARE)  # of many short runs each would write one too many
        return time.monotonic() - self._last > (self.run.seconds / _SHARE or first)

    def _write(self, what: str, state: Any) -> None:
        start = time.monotonic()
        try:
            tree = {"facts": self.run.facts, "name": self.name, "state": parts_of(state)}
            save_tree(self._path(what), tree)
        except DataError as error:  # of the disk: what trains must not take it for its own
            raise CheckpointError(str(error)) from None
        self._last = time.monotonic()
        Checkpoints.cost = self.run.seconds = self._last - start

    def _steps(self) -> list[Path]:
        found = self.run.folder.glob(f"{self.number:02d}-*.safetensors")
        return sorted(path for path in found if re.fullmatch(r"\d+-\d{8}\.safetensors", path.name))

    def _path(self, what: str) -> Path:
        return self.run.folder / f"{self.number:02d}-{what}.safetensors"
