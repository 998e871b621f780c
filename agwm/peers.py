"""The processes of a run: where each of them runs, and which of them is lost."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch.distributed as dist

from agwm.errors import ProcessError, reason

__all__ = ["introduce", "naming_lost"]

_PATIENCE = 5.0  # seconds: a process that is killed ends a little after its connections
_COURTESY = 1.0  # seconds: the others look too, and would name a process that has ended for this by then
Peer = tuple[str, int]
_peers: MutableMapping[Any, list[Peer]] = WeakKeyDictionary()  # of a group, while it is there


def introduce() -> None:
    """Tell all processes where each runs; all of them call this."""
    group = dist.group.WORLD
    if group not in _peers:
        found: list[Peer] = [_place()] * dist.get_world_size()
        dist.all_gather_object(found, _place())
        _peers[group] = found


def _place() -> Peer:
    """Return the host, and the number that the process has there; containers count on their own."""
    space = "/proc/self/ns/pid"
    apart = os.stat(space).st_ino if os.path.exists(space) else ""
    return f"{socket.gethostname()} {apart}", os.getpid()


@contextmanager
def naming_lost() -> Iterator[None]:
    """Let what the exchange with a lost process raises in the body name this process.

    Raises:
        ProcessError: In place of the error of gloo or NCCL.
        RuntimeError: One of another kind, as it is.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, ProcessError) or not _is_of_exchange(error):
            raise
        raise ProcessError(_message(error)) from None


def _is_of_exchange(error: RuntimeError) -> bool:
    is_known = isinstance(error, getattr(dist, "DistError", ()))
    return is_known or any(name in str(error) for name in ("gloo", "NCCL"))


def _message(error: RuntimeError) -> str:
    number, size = dist.get_rank(), dist.get_world_size()
    lost, is_sure = _lost()
    listed, one = ", ".join(map(str, lost)), len(lost) == 1
    who = "A process is" if not lost else f"Process {listed} is" if one else f"Processes {listed} are"
    if not is_sure and len(lost) > 1:
        who, one = f"One of processes {listed} is", True
    return (
        f"{who} lost: expected all {size} to exchange gradients, got no answer in process {number}"
        f" ({reason(error)}). Look at what {'it' if one else 'the others'} printed last."
    )


def _lost() -> tuple[list[int], bool]:
    """Return the numbers of the processes that have ended, and True if each of them has.

    Those on other hosts cannot be seen: where all on this host are there, it is one of them.
    """
    peers, (host, _) = _peers.get(dist.group.WORLD, []), _place()
    others = {number: peer for number, peer in enumerate(peers) if number != dist.get_rank()}
    near = {number: pid for number, (name, pid) in others.items() if name == host}
    end = time.monotonic() + (_PATIENCE if near else 0.0)
    while True:
        gone = [number for number, pid in near.items() if not _is_running(pid)]
        if gone or time.monotonic() > end:
            break
        time.sleep(0.05)
    time.sleep(_COURTESY)
    return (gone, True) if gone else (sorted(others.keys() - near.keys()), False)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:  # none, or somebody else's who took the number
        return False
    state = Path(f"/proc/{pid}/stat")
    try:  # who was killed is there until its parent looks
        return state.read_text(encoding="utf-8").rpartition(") ")[2][:1] != "Z"
    except OSError:
        return not Path("/proc/self/stat").exists()
