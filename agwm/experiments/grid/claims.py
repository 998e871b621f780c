"""Claims: a file for each cell names the process that runs it, so that no two processes do."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from agwm.checks import Interval
from agwm.errors import AgwmError, DataError
from agwm.experiments.names import Text
from agwm.experiments.yaml_files import Form, build
from agwm.files import read_json, refuse_to_write

try:
    import fcntl
except ImportError:  # not on POSIX: no claim is taken over there
    fcntl = None  # type: ignore[assignment]

__all__ = ["Owner", "claim", "is_stale", "owner_of", "release"]

_LOCK = ".takeover"
_PATIENCE = 60.0  # seconds after which a claim without content was left by a process that died
_FORM = Form("{source} is no claim: its {path}", error=DataError, is_by_hand=False)
# Of os.open: a link in a shared folder may lead to a file of somebody else. Windows has no such links.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_Pid = Annotated[int, Interval(1, 2**31 - 1)]


@dataclass(frozen=True)
class Owner:
    """Process that holds a claim.

    Attributes:
        host: Name of the machine.
        pid: Process that made the claim and will take it back.
        started: When that process started, in the kernel's units; None where that is not known.
        worker: Process that computes; None where it is the same.
        boot: Identity of the machine's present boot; None: it is not known.
        pid_space: In which ``pid`` counts, such as a container's; None where that is not known.
    """

    host: Text
    pid: _Pid
    started: int | None
    worker: _Pid | None
    boot: str | None = None
    pid_space: str | None = None


def claim(path: Path, worker: int | None = None) -> bool:
    """Make a claim, unless another process holds it; take over the claim of a dead process of this machine.

    Args:
        path: The claim's file; its folder exists.
        worker: Process that will compute.

    Returns:
        True if this process holds the claim now. Give it back by :func:`release`.

    Raises:
        DataError: If the claim cannot be written, as on a full disk.
    """
    try:
        if _create(path, worker):
            return True
        if not is_stale(path):
            return False
        with _takeover(path.parent) as is_alone:
            # Another process may have replaced the stale claim by its own in the meantime.
            if not is_alone or not is_stale(path):
                return False
            path.unlink(missing_ok=True)
            return _create(path, worker)
    except OSError as error:
        refuse_to_write(error.filename or path, error)


def release(path: Path) -> None:
    """Remove a claim.

    Raises:
        DataError: If it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        refuse_to_write(path, error)


def owner_of(path: Path) -> Owner | None:
    """Return the holder of a claim; None: there is no claim, or its file names nobody."""
    try:
        content = read_json(path, error=DataError)
        if isinstance(content, dict):  # another version may write more
            content = {name: value for name, value in content.items() if name in Owner.__annotations__}
        return build(Owner, content, path.name, form=_FORM)
    except AgwmError:
        return None


def is_stale(path: Path) -> bool:
    """True if the process that made the claim ran on this machine and has ended.

    Of a process on another machine nothing is known: its claims are never stale. A machine of the same
    name is another, and so is a container with process numbers of its own, and this machine before it was
    started again: it cannot be told from the others.
    """
    if fcntl is None:
        return False
    owner = owner_of(path)
    if owner is None:
        with suppress(OSError):
            return time.time() - path.lstat().st_mtime > _PATIENCE
        return False
    here = (socket.gethostname(), _boot(), _pid_space())
    there = (owner.host, owner.boot, owner.pid_space)
    if any(was is not None and was != now for was, now in zip(there, here, strict=True)):
        return False
    return not _is_alive(owner.pid) or owner.started != _start_of(owner.pid)


def _create(path: Path, worker: int | None) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_LINK, 0o666)
    except FileExistsError:
        return False
    pid = os.getpid()
    owner = Owner(socket.gethostname(), pid, _start_of(pid), worker, _boot(), _pid_space())
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(asdict(owner)))
    except OSError:
        path.unlink(missing_ok=True)  # without content it would hold the cell for a while
        raise
    return True


def _boot() -> str | None:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return None  # not on Linux


def _pid_space() -> str | None:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_of(pid: int) -> int | None:
    """Return the time when a process started: the system may reuse the number of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        parts = fields.split()
        return None if parts[0] == "Z" else int(parts[19])  # Z: dead, and not yet buried
    except (OSError, ValueError, IndexError):  # dead, or not on Linux
        return None


@contextmanager
def _takeover(folder: Path) -> Iterator[bool]:
    """Let one process at a time take over claims; the system frees the lock if the process dies."""
    path = folder / _LOCK
    if path.is_symlink():
        path.unlink(missing_ok=True)  # not laid by this package
    handle = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)  # not emptied: the lock is wanted
    with os.fdopen(handle, "r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
