"""The program that kills runs: what it counts, and what it must see."""

from __future__ import annotations

import os
import time

import pytest

from benchmarks import survival

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks and signals")


def test_damage_is_told_and_nothing_of_it_is_used(tmp_path):
    flips, cuts = survival.damage(40, tmp_path)
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
    good = survival.kill_row("good", slow_steps, 4, tmp_path / "good")
    assert (good.tried, good.survived, good.wrong, good.left) == (4, 4, 0, 0), good.problems
    bad = survival.kill_row("bad", careless, 4, tmp_path / "bad")
    assert bad.tried == 4 and bad.wrong == bad.left > 0 and bad.survived == 4 - bad.wrong


def test_the_page_has_a_row_for_each_kind():
    result = {"command": "x", "versions": {"agwm": "1", "torch": "2"}, "minutes": 1.0}
    result["rows"] = [survival.asdict(survival.Row("a kind", 3, 2, 1, 1, 0))]
    assert "| a kind | 3 | 2 | 1 | 1 | 0 |" in survival.render(result)


@pytest.mark.slow
def test_killed_runs_of_finetune_go_on_and_end_the_same(tmp_path):
    row = survival.kill_row("finetune", survival.finetune, 12, tmp_path)
    assert (row.tried, row.survived, row.wrong, row.left) == (12, 12, 0, 0), row.problems
    assert row.went_on > 0
