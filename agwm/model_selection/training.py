"""Train a candidate on some of the rows, and let the model answer for others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
from torch import nn

from agwm.checkpoints import Checkpoints
from agwm.data import DynamicPadding
from agwm.evaluation.predictions import model_logits
from agwm.evaluation.scores import outputs_of
from agwm.methods import Job, Outcome
from agwm.model_selection.candidates import Settings, made_with
from agwm.model_selection.material import Material, fresh_model
from agwm.models.head_start import start_head
from agwm.models.pretrained import Pretrained
from agwm.training.class_weights import balanced_weights
from agwm.training.lengths import GroupedByLength

__all__ = ["outputs_on", "train_on"]


def train_on(
    material: Material,
    name: str,
    settings: Settings,
    rows: Sequence[int] | np.ndarray,
    seed: int,
    evaluate: Callable[[nn.Module, Pretrained], dict[str, float]] | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[Outcome, Pretrained]:
    """Train a candidate on some rows, from the pretrained weights.

    Args:
        material: The rows and the model.
        name: Name of the candidate.
        settings: Its settings.
        rows: Positions of the training rows.
        seed: Seed of the training.
        evaluate: Called on the way, as the method does it: mostly after each epoch.
        checkpoints: Those of this training; None: there are none.

    Returns:
        What came out, and the model that was trained.

    Raises:
        DivergenceError: If the training diverged.
        HypergradientError: If a hypergradient is not finite.
        MethodError: If the method does not fit the model or the rows.
        CheckpointError: If a checkpoint cannot be written.
    """
    loaded = fresh_model(material, seed)
    method, training, recipe = made_with(name, settings, seed, material.options.gradient_accumulation)
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
        checkpoints=checkpoints,
    )
    with checkpoints or nullcontext():
        return method.run(job), loaded


def outputs_on(material: Material, model: nn.Module, loaded: Pretrained, rows: np.ndarray) -> np.ndarray:
    """Return a model's outputs for some rows, shape (rows, outputs)."""
    examples = [material.examples[index] for index in rows]
    # On a CPU padding costs more than many passes: small batches of like length have little of it.
    size = 16 if material.device.type == "cpu" else 64
    logits = model_logits(model, examples, DynamicPadding(loaded.tokenizer), size)
    return outputs_of(logits, material.task)
