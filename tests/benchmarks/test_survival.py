"""The program that kills runs: what it counts, and what it must see."""

from __future__ import annotations

import os
import signal
import time

import pytest

from agwm.files import read_json
from benchmarks import survival
from benchmarks.damaged_checkpoints import damage
from benchmarks.killed_runs import finetune, grid, has_claims, save_model
from benchmarks.killing import kill_row, leader_or_worker

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks and signals")


def test_damage_is_told_and_nothing_of_it_is_used(tmp_path):
    flips, cuts = damage(40, tmp_path)
    assert (flips.tried, flips.survived, flips.wrong) == (40, 40, 0), flips.problems
    assert (cuts.tried, cuts.survived, cuts.wrong) == (40, 40, 0), cuts.problems


def slow_steps(folder):
    folder.mkdir(exist_ok=True)
    (folder / "begun").write_text("x")
    time.sleep(0.3)
    (folder / "begun").unlink()
    (folder / "result.json").write_text('{"weights": 1, "seconds": 2.5}')


def careless(folder):
    """Leaves another result where it was killed before."""
    was_begun = (folder / "begun").exists() if folder.exists() else False
    slow_steps(folder)
    if was_begun:
        (folder / "result.json").write_text('{"weights": 2}')
        (folder / "left").write_text("x")


def test_a_run_that_ends_otherwise_is_counted(tmp_path):
    good = kill_row("good", slow_steps, 4, tmp_path / "good")
    assert (good.tried, good.survived, good.wrong, good.left) == (4, 4, 0, 0), good.problems
    bad = kill_row("bad", careless, 4, tmp_path / "bad")
    assert bad.tried == 4 and bad.wrong == bad.left > 0 and bad.survived == 4 - bad.wrong


def with_helper(folder):
    """Has a process of its own, which outlives it, and without which it fails."""
    folder.mkdir(exist_ok=True)
    helper = os.fork()
    if not helper:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        time.sleep(0.6)
        (folder / "late").write_text("x")
        os._exit(0)
    (folder / "helper").write_text(str(helper))
    done = os.waitpid(helper, 0)[1] == 0
    (folder / "helper").unlink()
    if done:
        (folder / "result.json").write_text("{}")
    return int(not done)


def test_a_worker_is_hit_too_and_what_outlives_a_run_is_awaited(tmp_path):
    def helper_of(pid):
        found = [int(path.read_text()) for path in tmp_path.glob("runs/run*/helper")]
        return found or [pid]

    row = kill_row("helper", with_helper, 3, tmp_path / "runs", victims=helper_of)
    assert (row.tried, row.survived, row.wrong, row.left) == (3, 3, 0, 0), row.problems


def of(kind, **values):
    return {"kind": kind, "problems": [], "seeds": [1], "minutes": 1.0, **values}


def test_pieces_are_summed_or_replaced(tmp_path, monkeypatch):
    counts = {"tried": 3, "survived": 2, "went_on": 1, "wrong": 1, "left": 0}
    made = []

    def make(tries, work, seed):
        made.append((tries, seed))
        return [of("a kind", **counts, seeds=[seed])]

    monkeypatch.setitem(survival.ROWS, "grid", make)
    for flags in ([], ["--add"], ["--add"]):
        survival.main(["--row", "grid", "--tries", "3", "--out", str(tmp_path), *flags])
    assert made == [(3, 1), (3, 2), (3, 3)]
    (row,) = read_json(tmp_path / "reliability.json")["rows"]
    assert (row["tried"], row["survived"], row["went_on"], row["seeds"]) == (9, 6, 3, [1, 2, 3])
    assert "| a kind | 9 | 6 | 3 | 3 | 0 |" in (tmp_path / "reliability.md").read_text()
    survival.main(["--row", "grid", "--seed", "9", "--tries", "3", "--out", str(tmp_path / "other")])
    survival.main(["--merge", str(tmp_path / "other"), "--out", str(tmp_path)])
    (row,) = read_json(tmp_path / "reliability.json")["rows"]
    assert (row["tried"], row["seeds"]) == (12, [1, 2, 3, 9])
    survival.main(["--row", "grid", "--tries", "3", "--out", str(tmp_path)])
    assert read_json(tmp_path / "reliability.json")["rows"][0]["tried"] == 3
    other = of("other", tried=1, survived=1, went_on=None, wrong=0, left=0)
    assert [one["kind"] for one in survival.merged([row], [other], True)] == ["a kind", "other"]
    assert survival.merged([other], [other], True)[0]["went_on"] is None


def test_the_page_has_a_row_for_each_kind():
    killed = of("a kind", tried=3, survived=2, went_on=1, wrong=1, left=0)
    read = of("files", tried=9, refused=5, accepted=3, wrong=1)
    page = survival.render({"versions": {"agwm": "1", "torch": "2"}, "rows": [killed, read]})
    assert "| a kind | 3 | 2 | 1 | 1 | 0 |" in page and "| files | 9 | 5 | 3 | 1 |" in page


@pytest.mark.slow
def test_killed_runs_of_finetune_go_on_and_end_the_same(tmp_path):
    row = kill_row("finetune", finetune, 12, tmp_path)
    assert (row.tried, row.survived, row.wrong, row.left) == (12, 12, 0, 0), row.problems
    assert row.went_on > 0


@pytest.mark.slow
def test_killed_grids_go_on_and_end_the_same(tmp_path):
    run = grid(save_model(tmp_path), tmp_path / "grid.yaml")
    row = kill_row("grid", run, 3, tmp_path / "runs", victims=leader_or_worker, has_begun=has_claims)
    assert (row.tried, row.survived, row.wrong, row.left) == (3, 3, 0, 0), row.problems
