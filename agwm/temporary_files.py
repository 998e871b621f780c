"""Temporary files beside those that are written: locked while they are, swept when their writer is dead."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on POSIX: nothing that a killed writer left is removed there
    fcntl = None  # type: ignore[assignment]

__all__ = ["sweep", "temporary_file"]

_ENDING = ".agwm-part"
_LONGEST = 200  # bytes of a name that are kept in the temporary one; 255 are allowed in all


@contextmanager
def temporary_file(path: Path) -> Iterator[str]:
    """Context manager: give the name of an empty file beside a path; what is left of it is removed.

    The file is locked, so that :func:`sweep` of another process leaves it alone.
    """
    start = os.fsdecode(os.fsencode(path.name)[:_LONGEST])
    handle, name = tempfile.mkstemp(_ENDING, f".{start}.", path.parent)
    try:
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield name
    finally:
        os.close(handle)
        with suppress(FileNotFoundError):
            os.unlink(name)


def sweep(folder: Path) -> None:
    """Remove the temporary files in a folder whose writers are dead: nobody holds their locks."""
    if fcntl is None:
        return
    for path in folder.glob(f".*{_ENDING}"):
        with suppress(OSError):  # another process swept it, or the folder cannot be written
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(handle)
