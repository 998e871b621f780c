"""Train a candidate on all rows, and again from another seed where it has not learned them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from agwm.errors import ModelError
from agwm.evaluation.scores import greater_is_better, score
from agwm.methods.method import Outcome
from agwm.model_selection.candidates import Settings
from agwm.model_selection.material import Material
from agwm.model_selection.record import CandidateRow
from agwm.model_selection.store import Store, key_of
from agwm.model_selection.training import outputs_on, train_on
from agwm.models.pretrained import Pretrained

__all__ = ["ATTEMPTS", "Trained", "train_on_all"]

ATTEMPTS = 3


@dataclass(frozen=True, eq=False)
class Trained:
    """A model that was trained on all rows.

    Attributes:
        outcome: What came out of the method.
        loaded: The model that was trained, with its tokenizer.
        outputs: Its outputs for all rows, shape (rows, outputs).
        seed: The seed that it was trained from.
    """

    outcome: Outcome
    loaded: Pretrained
    outputs: np.ndarray
    seed: int


def train_on_all(
    material: Material,
    row: CandidateRow,
    settings: Settings,
    notice: Callable[[str], None],
    store: Store,
) -> Trained:
    """Train a candidate on all rows; where it has not learned them, again from the next seed.

    A training from some seeds ends at a constant answer, above all at the larger learning rates. The folds
    do not tell of it, as they were trained from other seeds. So the model must score on the very rows that
    it learned from at least as well as the worse end of the interval of the cross-validation.

    Args:
        material: Rows and model.
        row: The candidate's row of the table.
        settings: Its settings.
        notice: Called with a line for each training that did not learn.
        store: Keeps the checkpoints.

    Raises:
        ModelError: If no training learned the rows.
        DivergenceError: If a training diverges.
        CheckpointError: If a checkpoint cannot be written.
    """
    metric, task = material.task.metric, material.task
    every = np.arange(len(material.examples))
    sign, bound = (1, row.low) if greater_is_better(metric) else (-1, row.high)
    found = []
    for seed in range(material.options.seed, material.options.seed + ATTEMPTS):
        key = key_of({"settings": settings, "seed": seed})
        points = store.checkpoints_of(f"{row.name}-all-rows", key, torch.get_num_threads())
        outcome, loaded = train_on(material, row.name, settings, every, seed, checkpoints=points)
        outputs = outputs_on(material, outcome.model, loaded, every)
        own = score(metric, outputs, material.labels, task)
        if bound is None or sign * own >= sign * bound:
            return Trained(outcome, loaded, outputs, seed)
        found.append(f"{own:.2f}")
        if len(found) < ATTEMPTS:
            notice(
                f"{row.name} did not learn all rows from seed {seed}: {metric} {own:.2f} on these very"
                f" rows, where the cross-validation says {row.score:.2f} for others. It is trained again"
                f" from seed {seed + 1}."
            )
    raise ModelError(
        f"Training {row.name} on all rows failed: expected {metric} of {bound:.2f} or better on the very"
        f" rows, got {', '.join(found)} from {ATTEMPTS} seeds. Nothing was saved. Call it with other"
        " --methods, or with a lower --lr."
    )
