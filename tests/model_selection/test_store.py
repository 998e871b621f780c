"""Finished cells on disk: read back as they were, and never taken for those of other rows or settings."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from agwm.errors import ConfigError
from agwm.model_selection.cells import FoldCell, Pair, TrialCell, TrialsRecord
from agwm.model_selection.record import FoldRecord, TrialRecord
from agwm.model_selection.store import FOLDER, Store

SETTINGS = {"learning_rate": 1e-4, "epochs": 3}
ROWS = np.arange(6)
FOLD = FoldCell("vanilla", 0, 1, ROWS[:4], ROWS[4:], SETTINGS, [TrialRecord(SETTINGS, 0.5)], 7)
TRIALS = TrialCell("vanilla", Pair(0, (0, 1)), ROWS[:2], (ROWS[2:4], ROWS[4:]), [SETTINGS], 7)
OUTPUTS = [[0.1, 0.9], [1 / 3, 2 / 3]]
TRIED = ([TrialRecord(SETTINGS, 0.5)], [TrialRecord(SETTINGS, None, "diverged")])
RECORDS = {
    FOLD.name: FoldRecord("vanilla", 0, 1, [4, 5], OUTPUTS, 0.5, SETTINGS, FOLD.trials),
    TRIALS.name: TrialsRecord(TRIED, 1.5, 9),
}


@pytest.mark.parametrize("cell", [FOLD, TRIALS], ids=["fold", "trials"])
def test_a_record_comes_back_as_it_was(cell, tmp_path):
    store = Store(tmp_path, "key")
    with store.held():
        assert store.find(cell) is None
        store.write(cell, RECORDS[cell.name])
        assert store.find(cell) == RECORDS[cell.name]
    assert store.num_other == 0
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"lock", f"{cell.name}.json"}


@pytest.mark.parametrize(
    "changed",
    [
        {"train": ROWS[1:4]},
        {"test": ROWS[5:]},
        {"settings": {**SETTINGS, "epochs": 4}},
        {"seed": 8},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_record_of_other_work_is_not_taken(changed, tmp_path):
    store = Store(tmp_path, "key")
    with store.held():
        store.write(FOLD, RECORDS[FOLD.name])
    assert store.find(dataclasses.replace(FOLD, **changed)) is None
    assert store.num_other == 1
    assert Store(tmp_path, "of other rows").find(FOLD) is None


@pytest.mark.parametrize("cell", [FOLD, TRIALS], ids=["fold", "trials"])
@pytest.mark.parametrize("old", ["0.5", "[", "null", "vanilla"])
def test_a_record_that_was_changed_is_made_anew(cell, old, tmp_path):
    store = Store(tmp_path, "key")
    with store.held():
        store.write(cell, RECORDS[cell.name])
    path = tmp_path / FOLDER / f"{cell.name}.json"
    before, after = path.read_text().rsplit(old, 1) if old in path.read_text() else ("", "{}")
    path.write_text(f"{before}1e3{after}")
    assert store.find(cell) is None and store.num_other == 1


@pytest.mark.parametrize("text", ["", "{", '{"key": 1}', "[]"])
def test_half_a_file_is_made_anew(text, tmp_path):
    store = Store(tmp_path, "key")
    with store.held():
        store.write(FOLD, RECORDS[FOLD.name])
    (tmp_path / FOLDER / f"{FOLD.name}.json").write_text(text)
    assert store.find(FOLD) is None and store.num_other == 1


def test_a_folder_is_held_by_one_process(tmp_path):
    lock = str(tmp_path / FOLDER / "lock")  # another process takes it by the library alone: that is fast
    program = (
        f"import filelock\nwith filelock.FileLock({lock!r}, timeout=0): print('held', flush=True); input()"
    )
    line = [sys.executable, "-c", program]
    with Store(tmp_path, "key").held():
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, input="\n")
        assert "Timeout" in done.stderr and "held" not in done.stdout
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="Output folder is in use"), Store(tmp_path, "key").held():
            pass
        other.communicate("\n", timeout=120)
    with Store(tmp_path, "key").held():
        pass


def test_the_lock_goes_when_work_fails(tmp_path):
    with pytest.raises(ValueError, match="broken"), Store(tmp_path, "key").held():
        raise ValueError("broken")
    with Store(tmp_path, "key").held():
        pass


def test_without_a_folder_nothing_is_kept():
    store = Store(None, "key")
    with store.held():
        store.write(FOLD, RECORDS[FOLD.name])
        assert store.find(FOLD) is None


def test_a_lock_says_what_to_do(tmp_path):
    with Store(tmp_path, "key").held(), pytest.raises(ConfigError, match="Wait for it, or pass another"):
        with Store(tmp_path, "key").held():
            pass
