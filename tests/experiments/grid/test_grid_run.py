"""Grids that run: in worker processes that may be killed, beside other processes, and again."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from agwm.errors import ConfigError, MissingExtraError
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.claims import claim, is_stale, owner_of, release
from agwm.experiments.grid.client import CellWorker
from agwm.experiments.grid.execution import describe_owners, run_grid
from agwm.experiments.grid.tickets import CLAIMS, make_tickets
from agwm.experiments.record import read_record
from tests.experiments.grid.commands import ENVIRONMENT, dead_owner
from tests.programs import GLUE_LOWRES

posix = pytest.mark.skipif(os.name != "posix", reason="dead processes are told apart on POSIX alone")


def stored(folder):
    return {path.stem: read_record(path) for path in sorted((folder / "results").glob("*.json"))}


def test_finished_cells_are_skipped_and_failed_ones_stay_failed(grid_file, tmp_path):
    ruin = {"method": "vanilla", "vanilla": {"learning_rate": 1e9, "warmup_ratio": 0}}
    cells = load_grid(grid_file(methods={"vanilla": {}, "ruin": ruin, "agwm": {}})).cells
    lines = []
    result = run_grid(cells, jobs=0, report=lines.append, progress=False)
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
    assert len(run_grid(cells, jobs=0, report=lines.append).records) == 6
    assert lines == ["6 of 6 runs are finished already."] and changed() == set()
    run_grid(cells, jobs=0, retry_failed=True)
    assert changed() == {"ruin"}
    run_grid(cells, jobs=0, override=True)
    assert changed() == {"ruin", "vanilla", "agwm"}
    assert list((tmp_path / "out" / CLAIMS).glob("*.json")) == []
    with pytest.raises(ConfigError, match=r"expected vanilla.epochs = 2, got 1"):
        run_grid(load_grid(grid_file(), assignments=["vanilla.epochs=2"]).cells, jobs=0)


def test_mistakes_are_found_before_the_first_run_and_refusals_stop_nothing(grid_file, tmp_path):
    methods = {"vanilla": {}, "top": {"method": "top_k", "rivals": {"top_k": {"num_blocks": 99}}}}
    result = run_grid(load_grid(grid_file(methods=methods, seeds=1)).cells, jobs=0, progress=False)
    (refusal,) = result.refused
    assert refusal.label == "top" and "99" in refusal.reason
    assert [record.label for record in result.records] == ["vanilla"]
    bad = {"vanilla": {}, "wrong": {"method": "agwm", "mixing": {"alpha": "rank7"}}}
    before = stored(tmp_path / "out")
    with pytest.raises(ConfigError, match="rank7"):
        run_grid(load_grid(grid_file(methods=bad, seeds=2)).cells, jobs=0)
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
def test_a_killed_worker_is_a_failed_run_and_the_others_go_on(grid_file, tmp_path, traps):
    """A run in a worker gives what the same run gives here, and imports nothing from the present folder."""
    endless = {"method": "vanilla", "vanilla": {"epochs": 1000000}}
    cells = load_grid(grid_file(methods={"endless": endless, "vanilla": {}}, seeds=1)).cells
    victim = tmp_path / "out" / CLAIMS / f"{cells[0].path().stem}.json"

    def kill():
        while not victim.exists() or owner_of(victim) is None:
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(owner_of(victim).worker, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    lines = []
    result = run_grid(cells, jobs=1, report=lines.append, progress=False)
    killer.join()
    endless_record, other = result.records
    assert "was ended by SIGKILL" in endless_record.failure
    assert endless_record.label == "endless" and result.num_failed == 1
    assert any("endless" in line and "SIGKILL" in line for line in lines)
    assert not victim.exists() and not (traps / "EXECUTED").exists()
    cells[1].path().unlink()
    (again,) = [r for r in run_grid(cells, jobs=0).records if r.label == other.label]
    assert again.scores == other.scores and again.failure is None


@posix
def test_two_processes_share_the_cells_and_run_none_twice(grid_file, tmp_path):
    """One is this process, the other the command line; a third has died with a claim."""
    path, longer = grid_file(methods={"vanilla": {}}, seeds=6), "vanilla.epochs=20"
    claims, results = tmp_path / "out" / CLAIMS, tmp_path / "out" / "results"
    cells = load_grid(path, assignments=[longer]).cells
    claims.mkdir(parents=True)
    (claims / cells[3].path().name).write_text(dead_owner())
    command = [sys.executable, str(GLUE_LOWRES), "--grid", str(path), "--jobs", "0", "--set", longer]
    other = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    owners, first, end = set(), {}, threading.Event()

    def watch():
        while not end.wait(0.05):
            owners.update(owner.pid for file in claims.glob("*.json") if (owner := owner_of(file)))
            for file in results.glob("*.json"):
                first.setdefault(file, file.stat().st_mtime_ns)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    while other.pid not in owners:
        assert other.poll() is None, other.communicate()
        time.sleep(0.02)
    result = run_grid(cells, jobs=0, progress=False)
    out, err = other.communicate(timeout=300)
    end.set()
    watcher.join()
    assert other.returncode == 0, err
    assert len(result.records) + len(result.elsewhere) == len(list(results.glob("*.json"))) == 6
    assert owners >= {os.getpid(), other.pid}  # both have worked
    # a cell that is run twice would be written twice
    assert first == {file: file.stat().st_mtime_ns for file in results.glob("*.json")}
    assert list(claims.glob("*.json")) == [] and "runs have ended" in out.decode()


def test_claims_are_for_one(tmp_path):
    path = tmp_path / "a.json"
    assert claim(path, worker=7) and not claim(path)
    owner = owner_of(path)
    assert (owner.host, owner.pid, owner.worker) == (socket.gethostname(), os.getpid(), 7)
    assert not is_stale(path)
    release(path)
    assert owner_of(path) is None and claim(path)


@posix
def test_claims_of_dead_processes_are_taken_over_by_one(tmp_path):
    """Many threads at once, again and again: a lock of the system and a file made once decide."""
    dead = dead_owner()
    for number in range(20):
        path = tmp_path / f"{number}.json"
        path.write_text(dead)
        assert is_stale(path)
        won, start = [], threading.Barrier(4)

        def take(path=path, won=won, start=start):
            start.wait()
            if claim(path):
                won.append(threading.get_ident())

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) <= 1
        assert won or claim(path)
        assert owner_of(path).pid == os.getpid()


@posix
def test_what_is_not_known_to_be_dead_is_left_alone(tmp_path, grid_file):
    path = tmp_path / "a.json"
    owner = {"host": "elsewhere", "pid": 1, "started": None, "worker": None}
    path.write_text(json.dumps(owner))
    assert not is_stale(path) and not claim(path)
    path.write_text("")  # made, and not yet written
    assert not is_stale(path)
    os.utime(path, (time.time() - 1000, time.time() - 1000))
    assert is_stale(path) and claim(path)
    # the number of this process, which started at another time
    path.write_text(json.dumps({**owner, "host": socket.gethostname(), "pid": os.getpid(), "started": 1}))
    assert is_stale(path) == (sys.platform == "linux")
    cells = load_grid(grid_file(seeds=1)).cells
    (ticket, _), _ = make_tickets(cells)
    ticket.claim.parent.mkdir(parents=True)
    ticket.claim.write_text(json.dumps(owner))
    result = run_grid(cells, jobs=0, progress=False)
    assert [cell.path() for cell in result.elsewhere] == [ticket.path] and len(result.records) == 1
    (line,) = describe_owners(result.elsewhere)
    assert "process 1 on elsewhere" in line and str(ticket.claim) in line


def test_a_wrong_backend_or_number_of_jobs(grid_file):
    cells = load_grid(grid_file()).cells
    with pytest.raises(ConfigError, match=r"Unknown backend 'loki'.*Did you mean 'loky'"):
        run_grid(cells, backend="loki")
    with pytest.raises(ConfigError, match="--jobs is out of range"):
        run_grid(cells, jobs=-1)
    if importlib.util.find_spec("ray") is None:
        with pytest.raises(MissingExtraError, match=r"pip install 'agwm\[ray\]'"):
            run_grid(cells, backend="ray")


@posix
@pytest.mark.slow
def test_a_worker_survives_no_leader(grid_file):
    """It ends when nobody waits for its answer, in the middle of a run too."""
    cells = load_grid(grid_file(methods={"vanilla": {"vanilla": {"epochs": 1000000}}}, seeds=1)).cells
    ((ticket,), _) = make_tickets(cells)
    with CellWorker() as worker:
        worker.start()
        process = worker._process
        process.stdin.write(json.dumps(ticket.request()) + "\n")
        process.stdin.flush()
        time.sleep(0.5)
        assert process.poll() is None
    assert process.returncode == 0


def skip_without_ray():
    """Look for Ray without importing it: what it reads of the environment then has to be set before."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("the extra 'ray' is not installed")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing", "ray"])
def test_every_backend(backend, grid_file, tmp_path):
    if backend == "ray":
        skip_without_ray()
    cells = load_grid(grid_file()).cells
    result = run_grid(cells, jobs=2, backend=backend, progress=False)
    assert len(result.records) == 4 and result.num_failed == 0
    assert list((tmp_path / "out" / CLAIMS).glob("*.json")) == []


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
