"""What the loops that lead the workers run in, when the command or one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agwm.errors import DataError
from agwm.experiments.grid import backends, client
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.claims import is_stale, owner_of
from agwm.experiments.grid.client import CellWorker
from agwm.experiments.grid.execution import run_grid
from agwm.experiments.grid.tickets import CLAIMS
from tests.experiments.grid.commands import ENVIRONMENT
from tests.programs import GLUE_LOWRES

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="processes are killed by signals"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_no_jobs_are_in_this_process_whatever_the_backend(backend, grid_file, monkeypatch):
    monkeypatch.setattr(backends, "CellWorker", None)  # no process of a worker either
    monkeypatch.setattr(backends.joblib, "Parallel", None)
    monkeypatch.setattr(backends, "_start_ray", None)
    cells = load_grid(grid_file(methods={"vanilla": {}}, seeds=1)).cells
    assert len(run_grid(cells, jobs=0, backend=backend, progress=False).records) == 1


# Stands for the program of a worker, which takes ten seconds to start: of one label it works for a minute.
WORKER = """
import json, sys, time
print(json.dumps({"ready": 0}), flush=True)
for line in sys.stdin:
    time.sleep(60 if json.loads(line)["label"] == "endless" else 0)
    print(json.dumps({"record": {}}), flush=True)
"""


def test_an_error_of_one_loop_ends_the_others(grid_file, tmp_path, monkeypatch):
    """Such as a full disk: the command does not wait for cells whose records nobody will read."""
    monkeypatch.setattr(client, "_START", WORKER)
    methods = {"vanilla": {}, "endless": {"method": "vanilla", "vanilla": {"epochs": 1000000}}}
    cells = load_grid(grid_file(methods=methods, seeds=1)).cells
    endless = tmp_path / "out" / CLAIMS / cells[1].path().name

    def no_room(path, record):
        wait_for(lambda: endless.exists() and owner_of(endless))
        raise DataError("no room")

    monkeypatch.setattr(backends, "write_json", no_room)
    start = time.monotonic()
    with pytest.raises(DataError, match="no room"):
        run_grid(cells, jobs=2, progress=False)
    assert not CellWorker._all and not list(endless.parent.glob("*.json"))
    assert time.monotonic() - start < 50


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_nothing_goes_on_when_the_command_is_killed(backend, grid_file, tmp_path):
    endless = {"method": "vanilla", "vanilla": {"epochs": 1000000}}
    path = grid_file(methods={"endless": endless}, seeds=2)
    command = [sys.executable, str(GLUE_LOWRES), "--grid", str(path), "--jobs", "2", "--backend", backend]
    pipe = subprocess.DEVNULL
    leader = subprocess.Popen(command, env=ENVIRONMENT, stdout=pipe, stderr=pipe)
    folder = tmp_path / "out" / CLAIMS

    def owners():
        return [owner for file in folder.glob("*.json") if (owner := owner_of(file))]

    found = set()
    try:
        wait_for(lambda: len(owners()) == 2)
        found = {pid for owner in owners() for pid in (owner.pid, owner.worker)}
        assert len(found) == 4 and leader.pid not in found and all(map(is_alive, found))
        leader.kill()
        leader.wait()
        wait_for(lambda: not any(map(is_alive, found)), 20)
    finally:
        for pid in filter(is_alive, (leader.pid, *found)):
            os.kill(pid, signal.SIGKILL)
    claims = list(folder.glob("*.json"))
    assert len(claims) == 2 and all(map(is_stale, claims))
    assert list((tmp_path / "out" / "results").iterdir()) == []
