"""The work of a cell: its trainings, each taken up where it was stopped, and their record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from agwm.errors import AgwmError, CheckpointError, one_line
from agwm.evaluation.constant import constant_outputs
from agwm.evaluation.scores import score
from agwm.model_selection.budget import BUDGETS, longer_settings
from agwm.model_selection.candidates import CONSTANT, Settings
from agwm.model_selection.cells import FoldCell, TrialCell, TrialsRecord, best_settings
from agwm.model_selection.material import Material
from agwm.model_selection.record import FoldRecord, TrialRecord
from agwm.model_selection.store import Store
from agwm.model_selection.training import outputs_on, train_on
from agwm.models.pretrained import Pretrained
from agwm.scores import finite_or_null

__all__ = ["run_cell"]

_Found = tuple[list[TrialRecord], list[TrialRecord]]  # of the first and of the second fold of a pair
_SCORES = ("first_fold", "second_fold")  # in the history of a trial


def run_cell(material: Material, cell: TrialCell | FoldCell, store: Store) -> TrialsRecord | FoldRecord:
    """Do the work of a cell. Training that diverges, or cannot be, is a failure on record.

    Args:
        material: The rows and the model.
        cell: The cell.
        store: Keeps finished trainings of a cell, and the checkpoints of the one that is going on.

    Raises:
        CheckpointError: If one cannot be written.
    """
    torch.set_num_threads(material.threads)
    if isinstance(cell, TrialCell):
        return _try(material, cell, store)
    return _answer(material, cell, store)


def _constant_answer(material: Material, train: np.ndarray, count: int) -> np.ndarray:
    """Return the outputs of the answer that scores best on the training rows and is the same for all."""
    answer = constant_outputs(material.task.metric, material.labels[train], material.task)
    return np.tile(answer, (count, 1))


def _score(material: Material, outputs: np.ndarray, rows: np.ndarray) -> float:
    return score(material.task.metric, outputs, material.labels[rows], material.task)


def _try(material: Material, cell: TrialCell, store: Store) -> TrialsRecord:
    done: list[TrialsRecord] = []

    def add(settings: Settings) -> None:
        one = replace(cell, settings=[settings], trial=len(done) + 1)
        record = store.find(one)
        if record is None:
            record = _train_trial(material, one, store)
            store.write(one, record)
            store.forget(one)
        done.append(cast(TrialsRecord, record))

    for settings in cell.settings:
        add(settings)
    best = _best_of_both(_joined(done).trials, material.task.metric)
    if best is not None:  # the learning rate is chosen; more epochs with it
        longer = {**best, "epochs": cell.settings[0]["epochs"]}
        for settings in longer_settings(longer, BUDGETS[material.options.budget], material.options.epochs):
            add(settings)
    return _joined(done)


def _joined(records: Sequence[TrialsRecord]) -> TrialsRecord:
    """Return the record of a cell from those of its trainings."""
    first, second = ([trial for record in records for trial in record.trials[fold]] for fold in (0, 1))
    seconds, passes = (sum(getattr(record, name) for record in records) for name in ("seconds", "passes"))
    return TrialsRecord((first, second), seconds, passes)


def _train_trial(material: Material, cell: TrialCell, store: Store) -> TrialsRecord:
    """Train with the settings of a cell of one training, and score both folds.

    A method that is evaluated after each epoch is a trial of each number of epochs. The scores are those of
    its history: a training that went on from a checkpoint has those from before it too.

    Raises:
        CheckpointError: If a checkpoint cannot be written.
    """
    (settings,), start = cell.settings, time.perf_counter()

    def evaluate(model: nn.Module, loaded: Pretrained) -> dict[str, float]:
        both = outputs_on(material, model, loaded, np.concatenate(cell.held_out))
        parts = np.split(both, [len(cell.held_out[0])])
        scores = [_score(material, *part) for part in zip(parts, cell.held_out, strict=True)]
        return dict(zip(_SCORES, scores, strict=True))

    is_open = material.options.epochs is None
    points = store.checkpoints(cell, material.threads)
    try:
        outcome, loaded = train_on(
            material, cell.candidate, settings, cell.train, cell.seed, evaluate if is_open else None, points
        )
        way = [record for record in outcome.history if _SCORES[0] in record]
        if len(way) != settings["epochs"]:
            way = [evaluate(outcome.model, loaded)]
    except CheckpointError:
        raise
    except AgwmError as error:
        failed = TrialRecord(settings, None, one_line(str(error)))
        return TrialsRecord(([failed], [failed]), time.perf_counter() - start, 0.0)
    first = settings["epochs"] - len(way) + 1
    known = [{**settings, "epochs": number} for number in range(first, first + len(way))]
    tried = [[TrialRecord(*pair) for pair in zip(known, (r[n] for r in way), strict=True)] for n in _SCORES]
    return TrialsRecord((tried[0], tried[1]), time.perf_counter() - start, outcome.passes)


def _best_of_both(found: _Found, metric: str) -> Settings | None:
    both = [
        TrialRecord(
            one.settings, None if one.score is None or other.score is None else one.score + other.score
        )
        for one, other in zip(*found, strict=True)
    ]
    return best_settings(both, metric)


def _answer(material: Material, cell: FoldCell, store: Store) -> FoldRecord:
    """Train with the chosen settings, and answer for the rows of the fold.

    Raises:
        CheckpointError: If a checkpoint cannot be written.
    """
    start = time.perf_counter()
    record = FoldRecord(
        candidate=cell.candidate,
        repeat=cell.repeat,
        fold=cell.fold,
        rows=[int(row) for row in cell.test],
        outputs=[],
        score=None,
        settings=cell.settings,
        trials=cell.trials,
    )
    more: dict[str, Any] = {}
    try:
        if cell.candidate == CONSTANT:
            outputs = _constant_answer(material, cell.train, len(cell.test))
        else:
            points = store.checkpoints(cell, material.threads)
            outcome, loaded = train_on(
                material, cell.candidate, cell.settings, cell.train, cell.seed, checkpoints=points
            )
            outputs = outputs_on(material, outcome.model, loaded, cell.test)
            more = {
                "passes": outcome.passes,
                "history": finite_or_null(outcome.history),
                "alpha": outcome.alpha,
            }
        more |= {"outputs": outputs.tolist(), "score": _score(material, outputs, cell.test)}
    except CheckpointError:
        raise
    except AgwmError as error:
        more = {"failure": one_line(str(error))}
    return replace(record, seconds=time.perf_counter() - start, **more)
