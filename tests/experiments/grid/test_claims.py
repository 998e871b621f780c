"""Claims: one process at a time has a cell, and nobody has that of a process that is dead."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from agwm.errors import DataError
from agwm.experiments.claims import claimed, holder_of
from agwm.files import write_json

HOLD = """
import sys, time
from pathlib import Path
from agwm.experiments.claims import claimed

with claimed(Path(sys.argv[1])) as is_mine:
    print(is_mine, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the claim."""
    path = tmp_path / "a.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    yield process, path
    process.kill()
    process.communicate()


def test_a_claim_is_for_one(tmp_path):
    path = tmp_path / "a.lock"
    assert holder_of(path) is None
    with claimed(path) as first, claimed(path) as second:
        assert first and not second and path.exists()
        assert holder_of(path) == f"process {os.getpid()} on {socket.gethostname()}"
    assert not path.exists()
    with claimed(path) as again:
        assert again


def test_another_process_is_named_and_a_dead_one_has_nothing(other):
    process, path = other
    with claimed(path) as is_mine:
        assert not is_mine
    assert holder_of(path) == f"process {process.pid} on {socket.gethostname()}"
    process.send_signal(signal.SIGKILL)
    process.wait()
    start = time.monotonic()
    assert holder_of(path) is None
    with claimed(path) as is_mine:
        assert is_mine and time.monotonic() - start < 1
    assert not path.exists()


@pytest.fixture
def no_room():
    """Let every write to a file fail, as on a full disk: by the system's limit on the size of files."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class NoRoom:
        def __enter__(self):
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))

        def __exit__(self, *_):
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    yield NoRoom()
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_claim_needs_no_room(tmp_path, no_room):
    path = tmp_path / "a.lock"
    with no_room, claimed(path) as is_mine, claimed(path) as other:
        assert is_mine and not other and holder_of(path) == "another process"
    assert not path.exists()


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, no_room):
    path = tmp_path / "a.json"
    write_json(path, [1])
    with no_room, pytest.raises(DataError, match=r"Cannot write '.*a\.json': expected .*, got"):
        write_json(path, [2])
    assert json.loads(path.read_text()) == [1] and list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match=r"Cannot write .*nowhere"):
        write_json(tmp_path / "nowhere" / "a.json", [1])


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Otherwise a power cut may leave an empty file under the name."""
    order, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("fsync") or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda *names: order.append("replace") or replace(*names))
    write_json(tmp_path / "a.json", [1])
    assert order == ["fsync", "replace"]


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_claim_follows_no_link(tmp_path):
    """Others may write into a shared folder: a link that they lay leads to nothing that is changed."""
    victim, path = tmp_path / "victim", tmp_path / "a.lock"
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(DataError, match=r"Cannot write '.*a\.lock'"), claimed(path):
        pass
    assert victim.read_text() == "precious"
