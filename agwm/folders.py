"""Folders that are swapped whole: a reader finds the older save or the newer one, and never a mixture.

A save is written into a new folder beside the target, which then takes its name. Linux exchanges the two
folders in one step. Elsewhere two renames do it; a process that dies between them leaves no folder under
the name, and the next save, or :func:`put_back`, gives the older one its name again.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn

from safetensors import SafetensorError

from agwm.errors import AgwmError, DataError

try:
    import fcntl
except ImportError:  # not on POSIX: nothing that a killed save left is removed there
    fcntl = None  # type: ignore[assignment]

__all__ = ["put_back", "whole_folder"]

# Files that tell a loader about a model. Those of an older save would be read as of the new one.
_OF_A_MODEL = (
    "config.json", "generation_config.json", "model*.safetensors*", "pytorch_model*.bin*",
    "adapter_config.json", "adapter_model.*", "alpha.safetensors", "agwm*.safetensors", "agwm*.json",
)  # fmt: skip
# Those of its tokenizer: they stay where the new save has none of its own.
_TOKENIZER = "tokenizer_config.json"
_OF_A_TOKENIZER = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "spiece.model",
    "sentencepiece.bpe.model", "chat_template*", "*processor_config.json",
)  # fmt: skip
# A card that is not agwm's gets another name beside the new one.
_CARD, _OTHER_CARD, _HEAD = "README.md", "README.old.md", 2000
_NO_LINKS = {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP}
_TRIES = 100

_LOOKS = 5


@contextmanager
def whole_folder(directory: str | Path) -> Iterator[Path]:
    """Give a new folder to write a model into; after the body it takes the place of the folder named.

    Everything in it reaches the disk before it gets the name. If the body or the disk fails, the older
    folder stays as it was. What the older folder holds and no loader reads as part of the model, such as
    notes or a ``.git``, goes along into the new one (as hard links). A tokenizer does, unless the new save
    has one; a ``README.md`` that is not agwm's becomes ``README.old.md``. A link to a folder stays a link.
    Folders that killed saves left beside it are removed.

    Args:
        directory: The folder to make or replace; its parents are made if missing.

    Yields:
        The new folder, empty, on the same disk.

    Raises:
        DataError: If it cannot be written or replaced: no room, no permission, a file of that name, the
            folder that the process stands in, or one on a disk of its own.
    """
    try:
        target = Path(os.path.realpath(directory))
        check_replaceable(directory)
        target.parent.mkdir(parents=True, exist_ok=True)
        put_back(target)
        fresh, lock = _make_held(target)
    except (OSError, ValueError, TypeError) as error:
        _refuse(directory, error)
    try:
        yield fresh
        _follow(target, fresh)
        _sync(fresh)
        _swap(fresh, target)
    except Exception as error:
        _refuse(directory, error)
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(fresh, ignore_errors=True)  # after the swap the older folder lies there
        if not os.path.lexists(target):  # interrupted between two renames
            put_back(target)


def put_back(directory: str | Path) -> None:
    """Clean up after killed saves: give an older folder its name back, and remove what they left."""
    with suppress(OSError, ValueError):  # ValueError: no name of a file
        target = Path(os.path.realpath(directory))
        for left in sorted(target.parent.glob(f"{_stem(target)}-*")):
            lock = _hold(left)
            if lock is None:  # the process that made it is alive
                continue
            try:
                if left.suffix == ".old" and not os.path.lexists(target):
                    os.rename(left, target)
                else:
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def _refuse(directory: str | Path, error: Exception) -> NoReturn:
    """Raise for a folder that cannot be written or replaced.

    Raises:
        DataError: With the reason, unless the error is one of ours, which stays as it is.
    """
    if isinstance(error, AgwmError):
        raise error
    reason = " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())[:200]
    place = repr(str(directory)[:200])
    # libraries written in Rust raise classes of their own where a disk is full
    if isinstance(error, OSError | SafetensorError) or "os error" in reason:
        raise DataError(
            "Output folder is not writable: expected room, and permission to write in it and beside it, got"
            f" {place} ({reason}). Choose another one; what was there is unchanged."
        ) from None
    raise DataError(
        f"Cannot save into {place}: expected a model and a tokenizer that can be written, got"
        f" {type(error).__name__}: {reason}. Mend them; what was there is unchanged."
    ) from error


def check_replaceable(directory: str | Path) -> None:
    """Raise for a folder that cannot change places with another; one that is missing can.

    Raises:
        DataError: If it is a file, the folder that the process stands in, or the root of a disk.
    """
    reason, target = None, Path(os.path.realpath(directory))
    with suppress(OSError):  # of a name that is too long, the next step tells
        # between two looks another process may swap the folder: what is wrong stays so
        if all(os.path.lexists(target) and not target.is_dir() for _ in range(_LOOKS)):
            _refuse(directory, OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
        if all(target.is_dir() and not os.access(target, os.W_OK) for _ in range(_LOOKS)):
            _refuse(directory, OSError(errno.EACCES, os.strerror(errno.EACCES)))
        here = Path(os.path.realpath(os.getcwd()))
        if target == here or target in here.parents:
            reason = "the folder that you stand in"
        elif os.path.ismount(target):
            reason = "the root of a disk"
    if reason:
        raise DataError(
            f"Output folder cannot be replaced whole: expected one of its own, got {reason}"
            f" ({str(directory)[:200]!r}). Name a folder inside of it."
        )


def _stem(target: Path) -> str:
    # a digest, as the name itself may be as long as names can be
    return f".saving-{hashlib.blake2b(os.fsencode(target.name), digest_size=6).hexdigest()}"


def _beside(target: Path, kind: str) -> Path:
    return target.parent / f"{_stem(target)}-{secrets.token_hex(4)}.{kind}"


def _make_held(target: Path) -> tuple[Path, int | None]:
    """Make a new folder beside the target, with a lock that the system frees when the process dies."""
    while True:
        fresh = _beside(target, "new")
        fresh.mkdir()
        lock = _hold(fresh, waits=True)
        if fresh.is_dir():  # else another process cleaned it up before it was locked
            return fresh, lock
        if lock is not None:
            os.close(lock)


def _hold(folder: Path, waits: bool = False) -> int | None:
    """Lock a folder and return the open file; None where another process holds it, or it has no locks."""
    if fcntl is None:
        return None
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except OSError:
        if handle is not None:
            os.close(handle)
        return None
    return handle


def _follow(target: Path, fresh: Path) -> None:
    """Give the new folder the mode of the older one, and what goes along.

    Raises:
        OSError: If that cannot be read or linked.
    """
    for _ in range(_TRIES - 1):
        try:
            if target.is_dir():
                shutil.copymode(target, fresh)
                _take_along(target, fresh)
            return
        except FileNotFoundError:  # another process is giving the name to its own
            continue
    raise OSError(errno.EBUSY, "other processes save to it all the time")


def _take_along(old: Path, new: Path) -> None:
    """Link what the older folder holds, and no loader reads as part of the model, into the new one."""
    card, others = new / _CARD, old / _CARD
    if card.exists() and others.is_file() and b"agwm" not in others.read_bytes()[:_HEAD]:
        with suppress(FileExistsError):  # of an earlier save
            _link(str(others), str(new / _OTHER_CARD))
    dropped = _OF_A_MODEL + (_OF_A_TOKENIZER if (new / _TOKENIZER).exists() else ())
    for entry in sorted(old.iterdir()):
        if os.path.lexists(new / entry.name) or any(fnmatch(entry.name, form) for form in dropped):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, new / entry.name, symlinks=True, copy_function=_link)
        else:
            _link(str(entry), str(new / entry.name))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, target, follow_symlinks=False)


def _sync(folder: Path) -> None:
    """Bring files and names to the disk: a name may reach it before its content."""
    for root, _, files in os.walk(folder):
        for name in (*files, "."):
            path = os.path.join(root, name)
            if os.path.islink(path) or not (os.path.isfile(path) or name == "."):
                continue
            with suppress(PermissionError):  # one taken along that we may not read
                _sync_one(path)


def _sync_one(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap(fresh: Path, target: Path) -> None:
    """Give the new folder the name of the older one, which gets a name that the caller removes.

    Raises:
        OSError: If it cannot be renamed.
    """
    for _ in range(_TRIES):  # again where another process saves to the same name
        try:
            os.rename(fresh, target)  # nothing is there, or an empty folder
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if _exchange(fresh, target):
            break
        old = _beside(target, "old")
        with suppress(FileNotFoundError):
            os.rename(target, old)
        try:
            os.rename(fresh, target)
        except OSError:
            put_back(target)
            continue
        shutil.rmtree(old, ignore_errors=True)
        break
    else:
        raise OSError(errno.EBUSY, "other processes save to it all the time")
    with suppress(OSError):
        _sync_one(target.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two folders in one step; False where the system cannot, or one is gone."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # an old C library
        return False
    here, flag = -100, 2  # AT_FDCWD and RENAME_EXCHANGE
    return exchange(here, os.fsencode(first), here, os.fsencode(second), ctypes.c_uint(flag)) == 0
