"""Kill a run at a random moment, give the same command again, and compare what is left."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from agwm.files import make_folder

__all__ = ["Row", "Run", "kill_row", "leader", "leader_or_worker"]

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_VOLATILE = {"total_seconds", "seconds", "threads", "created", "digest"}  # of a record: times, and of them
_PATIENCE = 300  # seconds for processes without a leader to end
Run = Callable[[Path], Any]


@dataclass
class Row:
    """What became of runs, or of files, of one kind.

    Attributes:
        kind: What was done.
        tried: How often.
        survived: How often it ended with the bits of an undisturbed run, or the damage was told.
        went_on: How often it went on from a checkpoint, where that was to be.
        wrong: How often the end was another, without a word.
        left: How many files were left that an undisturbed run does not leave.
        problems: The first of what went wrong, in words.
        seeds: Seeds of the pieces in which it was collected.
        minutes: How long it took.
    """

    kind: str
    tried: int = 0
    survived: int = 0
    went_on: int | None = None
    wrong: int = 0
    left: int = 0
    problems: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    minutes: float = 0.0


def leader(pid: int) -> list[int]:
    """Return the process that may be hit: the run's own."""
    return [pid]


def leader_or_worker(pid: int) -> list[int]:
    """Return the processes that may be hit: the run's own as often as all of its workers together."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children(recursive=True)
        workers = [child.pid for child in children if _is_worker(child)]
        return [pid] * max(1, len(workers)) + workers
    return [pid]


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any("popen_loky" in word for word in process.cmdline())
    return False


def kill_row(
    kind: str,
    run: Run,
    tries: int,
    work: Path,
    seed: int = 1,
    victims: Callable[[int], list[int]] = leader,
    has_begun: Callable[[Path], bool] = Path.exists,
) -> Row:
    """Kill a run ``tries`` times, each in a new folder, and let the same call end what was begun.

    Args:
        kind: Name of the row.
        run: Makes the run in a folder; returns its exit code, or None.
        tries: How often.
        work: Folder for all of them.
        seed: Of moments, signals and victims.
        victims: Returns of a run's process those that may be hit.
        has_begun: Returns of a run's folder whether there is something to lose: it is killed after that.
    """
    row, draw = Row(kind, went_on=0, seeds=[seed]), random.Random(seed)
    make_folder(work)
    _wait(_forked(run, work / "warm", work / "log"))
    rest = _measured(run, work / "reference", work / "log", has_begun)
    expected = _content(work / "reference")
    if not expected:
        raise SystemExit(f"The run does not end: {(work / 'log').read_text()[-500:]}")
    while row.tried < tries:
        folder, log = work / f"run{row.tried}", work / f"log{row.tried}"
        pid = _forked(run, folder, log)
        _await_begin(pid, folder, has_begun)
        time.sleep(draw.uniform(0, rest))
        number, hit = draw.choice(SIGNALS), pid
        with suppress(ProcessLookupError):
            hit = draw.choice(victims(pid))
            os.kill(hit, number)
        first = _wait(pid)
        if first == 0 and hit == pid:
            shutil.rmtree(folder, ignore_errors=True)
            continue  # it was done before
        row.tried += 1
        has_checkpoint = any(folder.rglob("[0-9][0-9]-*.safetensors"))
        code = _wait(_forked(run, folder, log))
        _await_orphans(pid)
        words, found = log.read_text(errors="replace"), _content(folder)
        changed = [name for name, digest in expected.items() if found.get(name) != digest]
        more = sorted(set(found) - set(expected))
        row.survived += code == 0 and not changed
        row.wrong += code == 0 and bool(changed)
        row.left += len(more)
        row.went_on += (has_checkpoint or first == 0) and "Going on from" in words
        if code or changed or more:
            hit_what = f"{signal.Signals(number).name} to {'the run' if hit == pid else 'a worker'}"
            row.problems.append(
                f"{hit_what}; exit {first}, then {code}; changed {changed}; more {more}; {words[-300:]}"
            )
        shutil.rmtree(folder, ignore_errors=True)
        log.unlink()
    return row


def _forked(run: Run, folder: Path, log: Path) -> int:
    """Run in a forked process, whose words go into a file, and return its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.setsid()
        handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = run(folder) or 0
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:  # it is told by the parent
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _measured(run: Run, folder: Path, log: Path, has_begun: Callable[[Path], bool]) -> float:
    """Let a run end undisturbed, and return the seconds that it took after it had begun."""
    pid = _forked(run, folder, log)
    _await_begin(pid, folder, has_begun)
    begin = time.perf_counter()
    _wait(pid)
    return time.perf_counter() - begin


def _await_begin(pid: int, folder: Path, has_begun: Callable[[Path], bool]) -> None:
    while not has_begun(folder) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _await_orphans(session: int) -> None:
    """Wait until no process of a killed run is left: the session has the number of the run's process.

    Raises:
        SystemExit: If one goes on for minutes.
    """
    end = time.monotonic() + _PATIENCE
    while _processes_of(session):
        if time.monotonic() > end:
            raise SystemExit(
                f"Processes of a killed run go on: expected none, got {_processes_of(session)}."
            )
        time.sleep(0.1)


def _processes_of(session: int) -> list[int]:
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                found.append(pid)
    return found


def _content(folder: Path) -> dict[str, str]:
    """Return relative name -> digest of what must be the same: times in records do not count."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".json":
                data = json.dumps(_steady(json.loads(data)), sort_keys=True).encode()
            elif path.suffix in (".png", ".md", ".html"):
                data = b""
            found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items() if key not in _VOLATILE}
    return [_steady(item) for item in value] if isinstance(value, list) else value
