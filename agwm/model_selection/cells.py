"""Cells of a model selection: the pieces of work that are done, and kept, one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from agwm.data import DynamicPadding
from agwm.errors import AgwmError, one_line
from agwm.evaluation.constant import constant_outputs
from agwm.evaluation.predictions import model_logits
from agwm.evaluation.scores import greater_is_better, outputs_of, score
from agwm.methods import Job, Outcome
from agwm.model_selection.budget import BUDGETS, longer_settings
from agwm.model_selection.candidates import CONSTANT, Settings, made_with
from agwm.model_selection.material import Material, fresh_model
from agwm.model_selection.record import FoldRecord, TrialRecord
from agwm.models.head_start import start_head
from agwm.models.pretrained import Pretrained
from agwm.scores import finite_or_null
from agwm.training.class_weights import balanced_weights
from agwm.training.lengths import GroupedByLength

__all__ = ["FoldCell", "Pair", "TrialCell", "TrialsRecord", "outputs_on", "run_cell", "train_on"]

_Found = tuple[list[TrialRecord], list[TrialRecord]]  # of the first and of the second fold of a pair


@dataclass(frozen=True)
class Pair:
    """Two folds of a repetition. Models that saw neither choose the settings of each on the other.

    Attributes:
        repeat: Number of the repetition.
        folds: Numbers of the two folds.
    """

    repeat: int
    folds: tuple[int, int]


@dataclass(frozen=True, eq=False)
class TrialCell:
    """Try the settings of a candidate on a pair of folds.

    Attributes:
        candidate: Name of the candidate.
        pair: The folds.
        train: Positions of the rows of all other folds.
        held_out: Positions of the rows of the first and of the second fold.
        settings: The settings to try.
        seed: Seed of the training.
    """

    candidate: str
    pair: Pair
    train: np.ndarray
    held_out: tuple[np.ndarray, np.ndarray]
    settings: list[Settings]
    seed: int

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        first, second = self.pair.folds
        return f"{self.candidate}-{self.pair.repeat}-trials-{first}-{second}"


@dataclass(frozen=True)
class TrialsRecord:
    """Outcome of a :class:`TrialCell`.

    Attributes:
        trials: For the first and for the second fold of the pair, the trials scored on that fold's rows.
        seconds: Wall time.
        passes: Forward and backward passes.
    """

    trials: tuple[list[TrialRecord], list[TrialRecord]]
    seconds: float
    passes: float


@dataclass(frozen=True, eq=False)
class FoldCell:
    """Train a candidate on all rows but a fold's, and let it answer for these.

    Attributes:
        candidate: Name of the candidate.
        repeat: Number of the repetition.
        fold: Number of the fold.
        train: Positions of the training rows.
        test: Positions of the held-out rows.
        settings: The settings that were chosen.
        trials: The trials that chose them.
        seed: Seed of the training.
    """

    candidate: str
    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray
    settings: Settings
    trials: list[TrialRecord]
    seed: int

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        return f"{self.candidate}-{self.repeat}-fold-{self.fold}"


def run_cell(material: Material, cell: TrialCell | FoldCell) -> TrialsRecord | FoldRecord:
    """Do the work of a cell. Training that diverges, or cannot be, is a failure on record."""
    torch.set_num_threads(material.threads)
    return _try(material, cell) if isinstance(cell, TrialCell) else _answer(material, cell)


def train_on(
    material: Material,
    name: str,
    settings: Settings,
    rows: Sequence[int] | np.ndarray,
    seed: int,
    evaluate: Callable[[nn.Module, Pretrained], dict[str, float]] | None = None,
) -> tuple[Outcome, Pretrained]:
    """Train a candidate on some rows, from the pretrained weights.

    Args:
        material: The rows and the model.
        name: Name of the candidate.
        settings: Its settings.
        rows: Positions of the training rows.
        seed: Seed of the training.
        evaluate: Called on the way, as the method does it: mostly after each epoch.

    Returns:
        What came out, and the model that was trained.

    Raises:
        DivergenceError: If the training diverged.
        HypergradientError: If a hypergradient is not finite.
        MethodError: If the method does not fit the model or the rows.
    """
    loaded = fresh_model(material, seed)
    method, training, recipe = made_with(name, settings, seed)
    examples = GroupedByLength(material.examples[index] for index in rows)
    labels, weights = material.labels[np.asarray(rows)], None
    if material.options.class_weight is None:
        start_head(loaded, labels)
    else:  # under balanced weights the best constant answer has no favourite, as a new head has none
        weights = balanced_weights(labels, material.task.num_labels)
    job = Job(
        loaded=loaded,
        examples=examples,
        collate=DynamicPadding(loaded.tokenizer),
        evaluate=None if evaluate is None else lambda model: evaluate(model, loaded),
        seed=seed,
        training=training,
        recipe=recipe,
        progress=False,
        class_weights=weights,
    )
    return method.run(job), loaded


def outputs_on(material: Material, model: nn.Module, loaded: Pretrained, rows: np.ndarray) -> np.ndarray:
    """Return a model's outputs for some rows, shape (rows, outputs)."""
    examples = [material.examples[index] for index in rows]
    # On a CPU padding costs more than many passes: small batches of like length have little of it.
    size = 16 if material.device.type == "cpu" else 64
    logits = model_logits(model, examples, DynamicPadding(loaded.tokenizer), size)
    return outputs_of(logits, material.task)


def _constant_answer(material: Material, train: np.ndarray, count: int) -> np.ndarray:
    """Return the outputs of the answer that scores best on the training rows and is the same for all."""
    answer = constant_outputs(material.task.metric, material.labels[train], material.task)
    return np.tile(answer, (count, 1))


def _score(material: Material, outputs: np.ndarray, rows: np.ndarray) -> float:
    return score(material.task.metric, outputs, material.labels[rows], material.task)


def _try(material: Material, cell: TrialCell) -> TrialsRecord:
    found: _Found = ([], [])
    passes, start = 0.0, time.perf_counter()
    for settings in cell.settings:
        passes += _train_trial(material, cell, settings, found)
    best = _best_of_both(found, material.task.metric)
    if best is not None:  # the learning rate is chosen; more epochs with it
        longer = {**best, "epochs": cell.settings[0]["epochs"]}
        for settings in longer_settings(longer, BUDGETS[material.options.budget], material.options.epochs):
            passes += _train_trial(material, cell, settings, found)
    return TrialsRecord(found, time.perf_counter() - start, passes)


def _train_trial(material: Material, cell: TrialCell, settings: Settings, found: _Found) -> float:
    """Train with some settings, add the scores on both folds, and return the passes.

    A method that is evaluated after each epoch is a trial of each number of epochs.
    """
    way: list[list[float]] = []

    def evaluate(model: nn.Module, loaded: Pretrained) -> dict[str, float]:
        both = outputs_on(material, model, loaded, np.concatenate(cell.held_out))
        parts = np.split(both, [len(cell.held_out[0])])
        way.append([_score(material, *part) for part in zip(parts, cell.held_out, strict=True)])
        return {"score": way[-1][0]}

    is_open = material.options.epochs is None
    try:
        outcome, loaded = train_on(
            material, cell.candidate, settings, cell.train, cell.seed, evaluate if is_open else None
        )
        if len(way) != settings["epochs"]:
            way.clear()
            evaluate(outcome.model, loaded)
    except AgwmError as error:
        for trials in found:
            trials.append(TrialRecord(settings, None, one_line(str(error))))
        return 0.0
    first = settings["epochs"] - len(way) + 1
    for number, scores in enumerate(way, start=first):
        for trials, score_ in zip(found, scores, strict=True):
            trials.append(TrialRecord({**settings, "epochs": number}, score_))
    return outcome.passes


def best_settings(trials: Sequence[TrialRecord], metric: str) -> Settings | None:
    """Return the settings of the best trial; None if all failed, or there is none."""
    sign = 1.0 if greater_is_better(metric) else -1.0
    scored = [(sign * trial.score, trial.settings) for trial in trials if trial.score is not None]
    return max(scored, key=lambda item: item[0])[1] if scored else None


def _best_of_both(found: _Found, metric: str) -> Settings | None:
    both = [
        TrialRecord(
            one.settings, None if one.score is None or other.score is None else one.score + other.score
        )
        for one, other in zip(*found, strict=True)
    ]
    return best_settings(both, metric)


def _answer(material: Material, cell: FoldCell) -> FoldRecord:
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
            outcome, loaded = train_on(material, cell.candidate, cell.settings, cell.train, cell.seed)
            outputs = outputs_on(material, outcome.model, loaded, cell.test)
            more = {
                "passes": outcome.passes,
                "history": finite_or_null(outcome.history),
                "alpha": outcome.alpha,
            }
        more |= {"outputs": outputs.tolist(), "score": _score(material, outputs, cell.test)}
    except AgwmError as error:
        more = {"failure": one_line(str(error))}
    return replace(record, seconds=time.perf_counter() - start, **more)
