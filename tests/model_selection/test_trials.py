"""Trials: one training tries each number of epochs, and what cannot be trained is on record."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agwm.data.rows import load_rows
from agwm.model_selection import work
from agwm.model_selection.cells import FoldCell, Pair, TrialCell, best_settings
from agwm.model_selection.options import FitOptions
from agwm.model_selection.preparation import prepare
from agwm.model_selection.store import Store
from agwm.model_selection.work import run_cell
from tests.fitting.made_rows import made_rows, tiny_model


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    options = FitOptions(model=tiny_model(tmp_path_factory.mktemp("tiny")), methods=["vanilla"], jobs=1)
    data = load_rows(made_rows(60), "text", "label")
    return prepare(data, options, lambda line: None).material


ROWS = np.arange(60)
NOTHING_KEPT = Store(None, "")
SETTINGS = {"learning_rate": 5e-3, "epochs": 3}


@pytest.mark.parametrize("name", ["vanilla", "agwm", "lora"])
def test_each_number_of_epochs_is_a_trial(material, name):
    cell = TrialCell(name, Pair(0, (0, 1)), ROWS[:36], (ROWS[36:48], ROWS[48:]), [SETTINGS], 1)
    record = run_cell(material, cell, NOTHING_KEPT)
    assert [[trial.settings["epochs"] for trial in trials] for trials in record.trials] == [[1, 2, 3]] * 2
    assert all(0 <= trial.score <= 1 for trials in record.trials for trial in trials)
    assert record.passes > 0 and record.seconds > 0


def test_a_trial_of_all_epochs_is_scored_as_the_model_is_in_the_end(material):
    cell = TrialCell("vanilla", Pair(0, (0, 1)), ROWS[:36], (ROWS[36:48], ROWS[48:]), [SETTINGS], 1)
    record = run_cell(material, cell, NOTHING_KEPT)
    fold = run_cell(
        material, FoldCell("vanilla", 0, 0, ROWS[:36], ROWS[36:48], SETTINGS, [], 1), NOTHING_KEPT
    )
    assert record.trials[0][-1].score == fold.score
    assert np.allclose(np.sum(fold.outputs, axis=1), 1) and len(fold.outputs) == 12


def test_epochs_that_are_given_are_the_only_trial(material):

    given = dataclasses.replace(material, options=dataclasses.replace(material.options, epochs=3))
    cell = TrialCell("vanilla", Pair(0, (0, 1)), ROWS[:36], (ROWS[36:48], ROWS[48:]), [SETTINGS], 1)
    assert [len(trials) for trials in run_cell(given, cell, NOTHING_KEPT).trials] == [1, 1]


def test_divergence_is_on_record(material):
    wild = {"learning_rate": 1e8, "epochs": 3}
    cell = TrialCell("vanilla", Pair(0, (0, 1)), ROWS[:36], (ROWS[36:48], ROWS[48:]), [wild, SETTINGS], 1)
    record = run_cell(material, cell, NOTHING_KEPT)
    assert record.trials[0][0].score is None and "not finite" in record.trials[0][0].failure
    assert best_settings(record.trials[0], "accuracy")["learning_rate"] == 5e-3
    fold = run_cell(material, FoldCell("vanilla", 0, 0, ROWS[:36], ROWS[36:48], wild, [], 1), NOTHING_KEPT)
    assert fold.score is None and fold.outputs == [] and "\n" not in fold.failure


def test_a_mistake_of_ours_is_no_failure_of_the_candidate(material, monkeypatch):
    monkeypatch.setattr(work, "train_on", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_cell(material, FoldCell("vanilla", 0, 0, ROWS[:36], ROWS[36:48], SETTINGS, [], 1), NOTHING_KEPT)


def test_the_model_of_a_cell_is_the_pretrained_one_each_time(material):
    cell = FoldCell("vanilla", 0, 0, ROWS[:36], ROWS[36:48], SETTINGS, [], 1)
    assert run_cell(material, cell, NOTHING_KEPT).outputs == run_cell(material, cell, NOTHING_KEPT).outputs
