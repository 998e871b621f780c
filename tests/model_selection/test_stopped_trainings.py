"""A cell that is stopped within a training goes on there, and ends with the record of a whole one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import agwm
from agwm.checkpoints import Stage
from agwm.data.rows import load_rows
from agwm.errors import CheckpointError
from agwm.methods import METHODS
from agwm.model_selection import whole_training, work
from agwm.model_selection.cells import FoldCell, Pair, TrialCell
from agwm.model_selection.options import FitOptions
from agwm.model_selection.preparation import prepare
from agwm.model_selection.store import FOLDER, Store
from agwm.model_selection.training import train_on
from agwm.model_selection.work import run_cell
from tests.fitting.made_rows import made_rows, tiny_model

ROWS = np.arange(60)
SETTINGS = {"learning_rate": 5e-3, "epochs": 3}
OTHERS = {"learning_rate": 1e-3, "epochs": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def material(model):
    options = FitOptions(model=model, methods=["vanilla"], jobs=1)
    return prepare(load_rows(made_rows(60), "text", "label"), options, lambda line: None).material


@pytest.fixture
def due(monkeypatch):
    """Let a checkpoint be written after every step, and count the steps."""
    steps = []
    real = Stage.after_step

    def after_step(stage, state):
        steps.append(state.step)
        real(stage, state)

    monkeypatch.setattr(Stage, "_is_due", lambda stage, step: True)
    monkeypatch.setattr(Stage, "_has_time", lambda stage: True)
    monkeypatch.setattr(Stage, "after_step", after_step)
    return steps


class Stop(BaseException):
    """What ends a process."""


def stopping(monkeypatch, module, name, number):
    """Let the call of that number of a function end everything."""
    real, calls = getattr(module, name), [0]

    def call(*given, **more):
        calls[0] += 1
        if calls[0] == number:
            raise Stop
        return real(*given, **more)

    monkeypatch.setattr(module, name, call)
    return calls


def trial_cell(name, settings):
    return TrialCell(name, Pair(0, (0, 1)), ROWS[:36], (ROWS[36:48], ROWS[48:]), settings, 1)


def files(folder):
    return {path.name for path in (folder / FOLDER).rglob("*") if path.is_file()} - {"lock"}


@pytest.mark.parametrize("name", ["vanilla", "agwm", "lora", "wise_ft", "weight_average"])
def test_trials_go_on_within_a_training(name, material, due, tmp_path, monkeypatch):
    cell, store = trial_cell(name, [SETTINGS]), Store(tmp_path, "key")
    whole = run_cell(material, cell, Store(None, ""))
    assert not due  # nothing is kept, so no step is asked for a checkpoint
    stopping(monkeypatch, work, "outputs_on", 2)
    with store.held(), pytest.raises(Stop):
        run_cell(material, cell, store)
    first, due[:] = len(due), []
    assert first > 0 and any(name.endswith(".safetensors") for name in files(tmp_path))
    with store.held():
        record = run_cell(material, cell, store)
    assert record.trials == whole.trials and record.passes == whole.passes
    assert due[0] > 1 or len(due) < first  # it did not begin again
    store.write(cell, record)
    store.forget(cell)
    assert files(tmp_path) == {f"{cell.name}.json"}


def test_trainings_of_a_cell_that_are_done_are_not_made_again(material, due, tmp_path, monkeypatch):
    cell, store = trial_cell("vanilla", [SETTINGS, OTHERS]), Store(tmp_path, "key")
    whole = run_cell(material, cell, Store(None, ""))
    calls = stopping(monkeypatch, work, "train_on", 2)
    with pytest.raises(Stop):
        run_cell(material, cell, store)
    assert files(tmp_path) == {f"{cell.name}-trial-1.json"}
    record = run_cell(material, cell, store)
    assert calls[0] == 2 + 1 and record.trials == whole.trials


def test_a_fold_goes_on_within_its_training(material, due, tmp_path, monkeypatch):
    cell, store = FoldCell("vanilla", 0, 0, ROWS[:36], ROWS[36:48], SETTINGS, [], 1), Store(tmp_path, "key")
    whole = run_cell(material, cell, Store(None, ""))
    stopping(monkeypatch, work, "outputs_on", 1)
    with pytest.raises(Stop):
        run_cell(material, cell, store)
    assert len(due) == 9
    record = run_cell(material, cell, store)
    assert len(due) == 9  # the training was done, and its weights are taken
    assert record.outputs == whole.outputs and record.history == whole.history


@pytest.mark.parametrize("change", ["key", "seed", "threads"])
def test_checkpoints_of_other_work_are_not_taken(change, material, due, tmp_path, monkeypatch):
    cell = FoldCell("vanilla", 0, 0, ROWS[:36], ROWS[36:48], SETTINGS, [], 1)
    stopping(monkeypatch, work, "outputs_on", 1)
    with pytest.raises(Stop):
        run_cell(material, cell, Store(tmp_path, "key"))
    store = Store(tmp_path, "other" if change == "key" else "key")
    if change == "seed":
        cell = dataclasses.replace(cell, seed=2)
    if change == "threads":
        material = dataclasses.replace(material, threads=material.threads + 1)
    run_cell(material, cell, store)
    assert due == [*range(1, 10), *range(1, 10)]
    assert len([*(tmp_path / FOLDER / "trainings").iterdir()]) == 1  # the older ones are gone


def test_a_full_disk_is_no_failure_of_the_candidate(material, due, tmp_path, monkeypatch):
    def full(stage, what, state):
        raise CheckpointError("Cannot write x: expected room on the disk, got none.")

    monkeypatch.setattr(Stage, "_write", full)
    store = Store(tmp_path, "key")
    fold = FoldCell("vanilla", 0, 0, ROWS[:36], ROWS[36:48], SETTINGS, [], 1)
    for cell in (trial_cell("vanilla", [SETTINGS]), fold):
        with pytest.raises(CheckpointError):
            run_cell(material, cell, store)
        assert store.find(cell) is None
    assert files(tmp_path) <= {".lock", "run.json"}


def test_the_training_on_all_rows_goes_on_and_nothing_is_left(model, due, tmp_path, monkeypatch):
    given = dict(text="text", label="label", model=model, methods=["vanilla"], jobs=1, seeds=1, epochs=8)
    given |= {"learning_rate": 5e-3, "progress": False}
    whole = agwm.fit(made_rows(60), **given)
    stopping(monkeypatch, whole_training, "outputs_on", 1)
    with pytest.raises(Stop):
        agwm.fit(made_rows(60), output_dir=tmp_path, **given)
    assert any("all-rows" in path.name for path in (tmp_path / FOLDER / "trainings").iterdir())
    due.clear()
    again = agwm.fit(made_rows(60), output_dir=tmp_path, **given)
    assert due == []
    text = [row["text"] for row in made_rows(5, seed=9)]
    assert np.array_equal(again.predict(text).outputs, whole.predict(text).outputs)
    assert not (tmp_path / FOLDER / "trainings").exists()
    assert not [*(tmp_path / FOLDER).glob("*-trial-*")]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_history_has_every_score_on_the_way(name, material):
    """By it the trials of each number of epochs are known, also of a training that was taken up."""
    seen = []

    def evaluate(model, loaded):
        seen.append(len(seen))
        return {"first_fold": float(seen[-1])}

    try:
        outcome, _ = train_on(material, name, SETTINGS, ROWS[:36], 1, evaluate)
    except agwm.AgwmError as error:
        pytest.skip(f"no candidate here: {error}")
    assert [record["first_fold"] for record in outcome.history if "first_fold" in record] == seen
