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
from agwm.experiments.claims import CLAIMS, holder_of
from agwm.experiments.grid import backends
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.client import OneWorker
from agwm.experiments.grid.execution import run_grid
from agwm.experiments.grid.work import Work
from tests.experiments.grid.commands import ENVIRONMENT, holders
from tests.programs import GLUE_LOWRES

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="processes are killed by signals"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.mark.parametrize("backend", ["threading", "ray"])
def test_no_jobs_are_in_this_process_whatever_the_backend(backend, grid_file, monkeypatch):
    monkeypatch.setattr(backends, "OneWorker", None)  # no process of a worker either
    monkeypatch.setattr(backends.joblib, "Parallel", None)
    monkeypatch.setattr(backends, "_start_ray", None)
    cells = load_grid(grid_file(methods={"vanilla": {}}, seeds=1)).cells
    assert len(run_grid(Work(cells, jobs=0, backend=backend), progress=False).records) == 1


def test_an_error_of_one_loop_ends_the_others(grid_file, tmp_path):
    """Such as a full disk: the command does not wait for cells whose records nobody will read."""
    methods = {"vanilla": {}, "endless": {"method": "vanilla", "vanilla": {"epochs": 1000000}}}
    cells = load_grid(grid_file(methods=methods, seeds=1)).cells
    (vanilla,) = (cell for cell in cells if cell.label == "vanilla")
    first = tmp_path / "out" / CLAIMS / f"{vanilla.path.stem}.lock"
    first.mkdir(parents=True)  # no file can be there
    with pytest.raises(DataError, match="Cannot write .*lock"):
        run_grid(Work(cells, jobs=2), progress=False)
    assert not OneWorker._all


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
def test_nothing_goes_on_when_the_command_is_killed(grid_file, tmp_path):
    endless = {"method": "vanilla", "vanilla": {"epochs": 1000000}}
    path = grid_file(methods={"endless": endless}, seeds=2)
    command = [sys.executable, str(GLUE_LOWRES), "--grid", str(path), "--jobs", "2"]
    pipe = subprocess.DEVNULL
    leader = subprocess.Popen(command, env=ENVIRONMENT, stdout=pipe, stderr=pipe)
    folder, found = tmp_path / "out" / CLAIMS, set()
    try:
        wait_for(lambda: len(holders(folder)) == 2)
        found = set(holders(folder).values())
        assert len(found) == 2 and leader.pid not in found and all(map(is_alive, found))
        leader.kill()
        leader.wait()
        wait_for(lambda: not any(map(is_alive, found)), 5)
    finally:
        for pid in filter(is_alive, (leader.pid, *found)):
            os.kill(pid, signal.SIGKILL)
    # threads of a process outlive its first one by a moment, and hold its files
    wait_for(lambda: all(holder_of(path) is None for path in folder.iterdir()), 5)
    assert list((tmp_path / "out" / "results").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_workers_write_checkpoints_and_the_same_command_goes_on(number, grid_file, tmp_path):
    path = grid_file(methods={"long": {"method": "vanilla", "vanilla": {"epochs": 800}}}, seeds=1)
    command = [sys.executable, str(GLUE_LOWRES), "--grid", str(path), "--set", "checkpoint_step=1000000"]
    leader = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: holders(tmp_path / "out" / CLAIMS))
    time.sleep(2)
    leader.send_signal(number)
    _, err = leader.communicate(timeout=60)
    if number == signal.SIGINT:
        assert leader.returncode == 130 and b"goes on from here" in err
    else:
        assert leader.returncode == -signal.SIGTERM
    (checkpoint,) = (tmp_path / "out" / "checkpoints").rglob("*.safetensors")
    assert "done" not in checkpoint.name
    again = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_a_grid_ends_without_a_word_of_its_workers(grid_file, tmp_path):
    """Python's tracker of resources warns on standard error of what ended workers left."""
    path = grid_file(methods={"a": {"method": "vanilla", "vanilla": {"epochs": 1}}}, seeds=1)
    command = [sys.executable, str(GLUE_LOWRES), "--grid", str(path), "--jobs", "1"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "resource_tracker" not in done.stderr and "Warning" not in done.stderr
