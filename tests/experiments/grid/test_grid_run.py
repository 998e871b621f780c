"""Grids that run: in worker processes that may be killed, beside other processes, and again."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from agwm.errors import ConfigError, MissingExtraError
from agwm.experiments.claims import CLAIMS, claimed, describe_owner
from agwm.experiments.grid import worker
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.execution import run_grid
from agwm.experiments.grid.tickets import make_tickets
from agwm.experiments.grid.work import Work
from agwm.experiments.record import read_record
from tests.experiments.grid.commands import ENVIRONMENT, holders
from tests.programs import GLUE_LOWRES

posix = pytest.mark.skipif(os.name != "posix", reason="dead processes are told apart on POSIX alone")


def stored(folder):
    return {path.stem: read_record(path) for path in sorted((folder / "results").glob("*.json"))}


def test_finished_cells_are_skipped_and_failed_ones_stay_failed(grid_file, tmp_path):
    ruin = {"method": "vanilla", "vanilla": {"learning_rate": 1e9, "warmup_ratio": 0}}
    cells = load_grid(grid_file(methods={"vanilla": {}, "ruin": ruin, "agwm": {}})).cells
    lines = []
    result = run_grid(Work(cells, jobs=0), report=lines.append, progress=False)
    assert (len(result.records), result.num_failed, result.refused, result.elsewhere) == (6, 2, [], [])
    assert result.num_degenerate == sum(r.scores.is_degenerate for r in result.records)
    record = stored(tmp_path / "out")["ruin--order--tiny--n20--seed1017"]
    assert (record.label, record.method) == ("ruin", "vanilla")
    assert "not finite" in record.failure and record.score is None
    assert any("ruin, order, seed 1017: failed" in line for line in lines) and "left" in lines[0]
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()}

    def changed():
        now = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()}
        return {path.name.partition("--")[0] for path in now if now[path] != stamps[path]}

    lines.clear()
    assert len(run_grid(Work(cells, jobs=0), report=lines.append).records) == 6
    assert lines == ["6 of 6 runs are finished already."] and changed() == set()
    run_grid(Work(cells, jobs=0, retry_failed=True))
    assert changed() == {"ruin"}
    run_grid(Work(cells, jobs=0, override=True))
    assert changed() == {"ruin", "vanilla", "agwm"}
    assert list((tmp_path / "out" / CLAIMS).iterdir()) == []
    with pytest.raises(ConfigError, match=r"expected vanilla.epochs = 2, got 1"):
        run_grid(Work(load_grid(grid_file(), assignments=["vanilla.epochs=2"]).cells, jobs=0))


def test_a_cell_that_goes_on_says_so(grid_file, monkeypatch, capsys):
    methods = {"vanilla": {}}
    cells = load_grid(grid_file(methods=methods, seeds=1), assignments=["checkpoint_step=1"]).cells

    def stopped(self, state):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("agwm.checkpoints.Stage.finish", stopped)
        run_grid(Work(cells, jobs=0), progress=False)
    capsys.readouterr()
    assert len(run_grid(Work(cells, jobs=0), progress=False).records) == 1
    assert "vanilla--order--tiny--n20--seed1017: Going on from step" in capsys.readouterr().err


def test_mistakes_are_found_before_the_first_run_and_refusals_stop_nothing(grid_file, tmp_path):
    methods = {"vanilla": {}, "top": {"method": "top_k", "rivals": {"top_k": {"num_blocks": 99}}}}
    result = run_grid(Work(load_grid(grid_file(methods=methods, seeds=1)).cells, jobs=0), progress=False)
    (refusal,) = result.refused
    assert refusal.label == "top" and "99" in refusal.reason
    assert [record.label for record in result.records] == ["vanilla"]
    bad = {"vanilla": {}, "wrong": {"method": "agwm", "mixing": {"alpha": "rank7"}}}
    before = stored(tmp_path / "out")
    with pytest.raises(ConfigError, match="rank7"):
        run_grid(Work(load_grid(grid_file(methods=bad, seeds=2)).cells, jobs=0))
    assert stored(tmp_path / "out") == before


@pytest.fixture
def traps(tmp_path, monkeypatch):
    """Work in a folder of modules that nobody may import; an empty part of PYTHONPATH stands for it too."""
    folder = tmp_path / "traps"
    folder.mkdir()
    for name in ("random", "json", "torch", "site", "agwm", "numpy"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'EXECUTED')!r}, 'w')\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep + os.environ.get("PYTHONPATH", "") + os.pathsep)
    return folder


@posix
@pytest.mark.parametrize("times", [1, 2])
def test_a_killed_worker_is_tried_again_once(times, grid_file, tmp_path, traps):
    """A run in a worker gives what the same run gives here, and imports nothing from the present folder."""
    longer = {"method": "vanilla", "vanilla": {"epochs": 100}}
    cells = load_grid(grid_file(methods={"longer": longer, "vanilla": {}}, seeds=1)).cells
    claims, victim = tmp_path / "out" / CLAIMS, cells[0].path.stem

    def kill():
        killed = {None}
        for _ in range(times):
            while (pid := holders(claims).get(victim)) in killed:
                time.sleep(0.02)
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    result = run_grid(Work(cells, jobs=1), progress=False)
    killer.join()
    assert result.num_failed == 0 and not (traps / "EXECUTED").exists()
    if times == 2:
        ((path, line),) = result.lost.items()
        assert path == cells[0].path and not path.exists()
        assert "was ended by SIGKILL (the system may have run out of memory), 2 times" in line
        result = run_grid(Work(cells, jobs=0), progress=False)  # the same command runs it
    assert [record.label for record in result.records] == ["longer", "vanilla"] and not result.lost
    other = result.records[1]
    cells[1].path.unlink()
    again = run_grid(Work(cells, jobs=0)).records[1]
    assert again.scores == other.scores and again.failure is None


@posix
@pytest.mark.slow
def test_too_little_memory_is_no_failure_on_record(grid_file, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    cells = load_grid(grid_file(methods={"vanilla": {}}, seeds=1)).cells
    monkeypatch.setattr(worker, "run_one", full)
    result = run_grid(Work(cells, jobs=0), progress=False)
    ((path, line),) = result.lost.items()
    assert not path.exists() and "Raise gradient_accumulation" in line
    monkeypatch.undo()
    assert len(run_grid(Work(cells, jobs=0), progress=False).records) == 1


@posix
def test_two_processes_share_the_cells_and_run_none_twice(grid_file, tmp_path):
    """One is this process, the other the command line; a third has died with a claim."""
    path, longer = grid_file(methods={"vanilla": {}}, seeds=6), "vanilla.epochs=20"
    claims, results = tmp_path / "out" / CLAIMS, tmp_path / "out" / "results"
    cells = load_grid(path, assignments=[longer]).cells
    claims.mkdir(parents=True)
    (claims / f"{cells[3].path.stem}.lock").write_text("process 1 on a machine that died")
    command = [sys.executable, str(GLUE_LOWRES), "--grid", str(path), "--jobs", "0", "--set", longer]
    other = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    owners, first, end = set(), {}, threading.Event()

    def watch():
        while not end.wait(0.05):
            owners.update(holders(claims).values())
            for file in results.glob("*.json"):
                first.setdefault(file, file.stat().st_mtime_ns)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    while other.pid not in owners:
        assert other.poll() is None, other.communicate()
        time.sleep(0.02)
    result = run_grid(Work(cells, jobs=0), progress=False)
    out, err = other.communicate(timeout=300)
    end.set()
    watcher.join()
    assert other.returncode == 0, err
    assert len(result.records) + len(result.elsewhere) == len(list(results.glob("*.json"))) == 6
    assert owners >= {os.getpid(), other.pid}  # both have worked
    # a cell that is run twice would be written twice
    assert first == {file: file.stat().st_mtime_ns for file in results.glob("*.json")}
    assert list(claims.iterdir()) == [] and "runs have ended" in out.decode()


def test_a_cell_of_another_process_is_left_to_it(grid_file):
    cells = load_grid(grid_file(seeds=1)).cells
    ticket, _ = make_tickets(Work(cells))
    ticket.claim.parent.mkdir(parents=True)
    with claimed(ticket.claim):
        result = run_grid(Work(cells, jobs=0), progress=False)
        assert [cell.path for cell in result.elsewhere] == [ticket.path] and len(result.records) == 1
        assert f"left to process {os.getpid()} on" in describe_owner(ticket.path)
    assert len(run_grid(Work(cells, jobs=0), progress=False).records) == 2


def test_a_wrong_backend_or_number_of_jobs(grid_file):
    cells = load_grid(grid_file()).cells
    with pytest.raises(ConfigError, match=r"--backend is unknown: .*got 'rai'.*Did you mean 'ray'"):
        run_grid(Work(cells, backend="rai"))
    with pytest.raises(ConfigError, match="--jobs is out of range"):
        run_grid(Work(cells, jobs=-1))
    if importlib.util.find_spec("ray") is None:
        with pytest.raises(MissingExtraError, match=r"pip install 'agwm\[ray\]'"):
            run_grid(Work(cells, backend="ray"))


def skip_without_ray():
    """Look for Ray without importing it: what it reads of the environment then has to be set before."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("the extra 'ray' is not installed")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("backend", ["threading", "ray"])
def test_every_backend(backend, grid_file, tmp_path):
    if backend == "ray":
        skip_without_ray()
    cells = load_grid(grid_file()).cells
    result = run_grid(Work(cells, jobs=2, backend=backend), progress=False)
    assert len(result.records) == 4 and result.num_failed == 0
    assert list((tmp_path / "out" / CLAIMS).iterdir()) == []


_LISTENS = """
import socket, sys
from agwm.experiments.grid.backends import _start_ray

def listening():
    found = set()
    for name in ("tcp", "tcp6"):
        with open(f"/proc/net/{name}") as file:
            rows = [line.split() for line in file.readlines()[1:]]
        found |= {row[1] for row in rows if row[3] == "0A"}
    return found

before = listening()
_start_ray(1)
print(*sorted(listening() - before))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net")
def test_ray_listens_on_the_loopback_address_alone():
    skip_without_ray()
    done = subprocess.run([sys.executable, "-c", _LISTENS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    addresses = [entry.split(":")[0] for entry in done.stdout.splitlines()[-1].split()]
    # 127.0.0.1, as IPv4 and as IPv6 write it, in the kernel's order of bytes
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert addresses and set(addresses) <= loopback
