"""A model of all rows must have learned them. No training collapses on demand: outputs stand in for one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from agwm.data import Task
from agwm.errors import ModelError
from agwm.model_selection import whole_training
from agwm.model_selection.record import CandidateRow
from agwm.model_selection.store import Store

LABELS = np.array([0, 1] * 10)
LEARNED, COLLAPSED = np.eye(2)[LABELS], np.tile([0.9, 0.1], (20, 1))


@pytest.fixture
def train(monkeypatch):
    """Return a function that trains with given outputs, seed by seed, and tells what happened."""

    def run(outputs_by_seed, metric="accuracy", **ends):
        seeds, lines = [], []

        def train_on(material, name, settings, rows, seed, checkpoints):
            assert checkpoints is None
            assert (name, settings, list(rows)) == ("vanilla", {"epochs": 2}, [*range(20)])
            seeds.append(seed)
            return SimpleNamespace(model=outputs_by_seed[len(seeds) - 1]), SimpleNamespace()

        monkeypatch.setattr(whole_training, "train_on", train_on)
        monkeypatch.setattr(whole_training, "outputs_on", lambda material, model, loaded, rows: model)
        material = SimpleNamespace(
            task=Task("own", ("sentence1",), ("bad", "good"), metric=metric),
            examples=[None] * 20,
            labels=LABELS,
            options=SimpleNamespace(seed=7),
        )
        row = CandidateRow(
            "vanilla",
            "chosen",
            0.8,
            **{"low": 0.7, "high": 0.9, **ends},
            fold_scores=[],
            seconds=1.0,
            passes=1.0,
        )
        try:
            made = whole_training.train_on_all(material, row, {"epochs": 2}, lines.append, Store(None, ""))
        except ModelError as error:
            return None, seeds, [*lines, str(error)]
        return made, seeds, lines

    return run


def test_a_model_that_learned_is_taken_at_once(train):
    made, seeds, lines = train([LEARNED])
    assert made.seed == 7 and made.outputs is LEARNED and seeds == [7] and lines == []


def test_one_that_collapsed_is_trained_again_and_that_is_said(train):
    made, seeds, (line,) = train([COLLAPSED, LEARNED])
    assert made.seed == 8 and seeds == [7, 8]
    assert line == (
        "vanilla did not learn all rows from seed 7: accuracy 0.50 on these very rows, where the"
        " cross-validation says 0.80 for others. It is trained again from seed 8."
    )


def test_nothing_is_saved_of_one_that_never_learns(train):
    made, seeds, lines = train([COLLAPSED] * 3)
    assert made is None and seeds == [7, 8, 9] and len(lines) == 3
    assert lines[-1].startswith(
        "Training vanilla on all rows failed: expected accuracy of 0.70 or better on the very rows, got"
        " 0.50, 0.50, 0.50 from 3 seeds. Nothing was saved."
    )


def test_where_less_is_better_the_other_end_counts(train):
    unsure = np.tile([0.5, 0.5], (20, 1))
    sure = 0.9 * LEARNED + 0.05
    ends = {"low": 0.2, "high": 0.4}
    assert train([unsure, sure], "log_loss", **ends)[1] == [7, 8]
    assert train([unsure], "log_loss", low=0.5, high=0.8)[1] == [7]


def test_a_row_without_an_interval_bounds_nothing(train):
    assert train([COLLAPSED], low=None, high=None)[1] == [7]
