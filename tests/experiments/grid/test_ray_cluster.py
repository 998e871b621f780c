"""A grid on two nodes of Ray, of which one dies: every cell is made, and none twice."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from agwm.experiments.record import read_record
from tests.experiments.grid.commands import ENVIRONMENT
from tests.experiments.grid.two_nodes import ALONE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'ray' is not installed"),
    pytest.mark.skipif(
        shutil.which("unshare") is None or shutil.which("ip") is None, reason="no namespaces"
    ),
]


@pytest.fixture
def short_folder():
    """A folder of a short name: paths of sockets are 107 bytes at most."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stamps(tmp_path):
    """Watch the records; return the time of change that each had when it was first there."""
    first, end = {}, threading.Event()

    def watch():
        while not end.wait(0.02):
            for path in (tmp_path / "out" / "results").glob("*.json"):
                first.setdefault(path, path.stat().st_mtime_ns)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield first
    end.set()
    watcher.join()


def test_every_cell_is_made_once_though_a_node_dies(grid_file, tmp_path, short_folder, stamps):
    if subprocess.run([*ALONE, "ip", "link", "add", "type", "veth"], capture_output=True).returncode:
        pytest.skip("no right to make namespaces with a network between them")
    long = {"method": "vanilla", "vanilla": {"epochs": 300}}
    path = grid_file(methods={"long": long}, seeds=5)
    out = tmp_path / "out"
    program = [sys.executable, "-m", "tests.experiments.grid.two_nodes", str(path), str(out)]
    done = subprocess.run(
        [*ALONE, *program, str(short_folder)], env=ENVIRONMENT, capture_output=True, text=True, timeout=2700
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["code"] == 0, found
    assert found["had_record"] is False, found  # it was killed in the middle of a cell
    now = {record: record.stat().st_mtime_ns for record in (out / "results").iterdir()}
    assert len(now) == 5 and now == stamps  # a cell that is made twice would be written twice
    assert f"{found['cell']}.json" in {record.name for record in now}
    assert all(read_record(record).failure is None for record in now)
    assert list((out / "claims").iterdir()) == []
    assert "5 runs have ended, 0 of them failed" in found["out"]
