"""Claims: whoever holds the lock of a run makes it. The system frees the lock when its process dies."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from agwm.files import refuse_to_write

__all__ = ["CLAIMS", "claim_of", "claimed", "describe_owner", "holder_of"]

CLAIMS = "claims"  # folder in an output folder

_PATIENCE = 0.2  # seconds: who asks for the holder has the lock for a moment


def claim_of(record: Path) -> Path:
    """Return the file whose lock is the right to make a run, from the file of its record."""
    return record.parent.parent / CLAIMS / f"{record.stem}.lock"


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Context manager: hold a lock; gives False where another process holds it.

    A machine that died frees its locks in a shared folder as soon as the file server notices.

    Args:
        path: The lock's file; its folder exists. It is removed afterwards.

    Raises:
        DataError: If it cannot be written, as on a full disk.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE, poll_interval=_PATIENCE / 4)
    except Timeout:
        yield False
        return
    except OSError as error:
        refuse_to_write(path, error)
    try:
        with suppress(OSError):  # for who asks; the lock holds without it
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield True
    finally:
        path.unlink(missing_ok=True)  # while it is held: nobody else has it open and thinks it his
        lock.release()


def holder_of(path: Path) -> str | None:
    """Return in words who holds a lock; None: nobody does."""
    lock = FileLock(path)
    try:
        if not path.exists():
            return None
        lock.acquire(blocking=False)
    except Timeout:
        with suppress(OSError, UnicodeDecodeError):
            return path.read_text(encoding="utf-8") or "another process"
        return "another process"
    except OSError:  # whoever claims it is told
        return None
    lock.release()
    return None


def describe_owner(record: Path) -> str:
    """Return a line that names who makes a run, from the file of its record."""
    return f"left to {holder_of(claim_of(record)) or 'nobody any more'}: {record.stem}"
