"""Claims: whose they are, and what is left of one that cannot be written."""

from __future__ import annotations

import json
import os
import sys

import pytest

from agwm.errors import DataError
from agwm.experiments.grid.claims import claim, is_stale, owner_of, release
from agwm.files import write_json
from tests.experiments.grid.commands import dead_owner

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
@pytest.mark.parametrize("key", ["boot", "pid_space"])
def test_another_machine_of_the_same_name_is_another(tmp_path, key):
    """Its processes have numbers of their own: that none here has one says nothing."""
    path = tmp_path / "a.json"
    assert claim(path)
    mine = json.loads(path.read_text())
    assert len(mine["boot"]) == 36 and mine["pid_space"].startswith("pid:[")
    dead = {**mine, **{name: json.loads(dead_owner())[name] for name in ("pid", "started")}}
    path.write_text(json.dumps(dead))
    assert is_stale(path)
    path.write_text(json.dumps({**dead, key: "another"}))
    assert not is_stale(path) and not claim(path)


@pytest.mark.skipif(os.name != "posix", reason="dead processes are told apart on POSIX alone")
def test_a_claim_without_boot_and_pid_space_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(dead_owner())
    assert owner_of(path).boot is None and is_stale(path) and claim(path)
    release(path)


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


def test_a_claim_that_cannot_be_written_blocks_nobody(tmp_path, no_room):
    path = tmp_path / "a.json"
    with no_room, pytest.raises(DataError, match=r"Cannot write '.*a\.json': expected .*, got") as error:
        claim(path)
    assert "\n" not in str(error.value) and not path.exists() and claim(path)


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


def test_a_stale_claim_is_taken_over_through_no_link(tmp_path):
    """Others may write into a shared folder: a link that they lay leads to nothing that is changed."""
    folder = tmp_path / "claims"
    folder.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (folder / ".takeover").symlink_to(victim)
    path = folder / "c.json"
    path.write_text(dead_owner())
    assert claim(path) and victim.read_text() == "precious"
    path.unlink()
    path.symlink_to(victim)
    assert not claim(path)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    assert not claim(path) and not (tmp_path / "nowhere").exists()
    os.utime(path, (1, 1), follow_symlinks=False)
    assert claim(path) and not path.is_symlink()  # the link was left by a process that died
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    "change",
    [
        {"pid": "x"},
        {"pid": -1},
        {"pid": 10**30},
        {"pid": None},
        {"host": 3},
        {"worker": "y"},
        {"started": 0.5},
    ],
    ids=str,
)
def test_a_claim_of_odd_values_names_nobody(change, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**json.loads(dead_owner()), **change}))
    assert owner_of(path) is None and not is_stale(path) and not claim(path)
    os.utime(path, (1, 1))
    assert is_stale(path) and claim(path)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "[]", "3", '"x"', "{", "\xff", '{"pid": 1e400}', "9" * 5000]
)
def test_a_claim_of_other_content_names_nobody(content, tmp_path):
    path = tmp_path / "c.json"
    path.write_bytes(content.encode("latin-1"))
    assert owner_of(path) is None and not claim(path)


def test_a_claim_of_a_newer_version_is_read(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**json.loads(dead_owner()), "more": 1}))
    assert owner_of(path) is not None and is_stale(path)
