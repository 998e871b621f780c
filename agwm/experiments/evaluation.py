"""Scores of a model on encoded examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from agwm.batches import to_device
from agwm.data.metrics import compute_metric, predictions_from_logits
from agwm.data.tasks import Task
from agwm.errors import AgwmError
from agwm.mixing.mixup import mixup_of

__all__ = ["DivergenceError", "constant_score", "evaluate", "model_logits"]

Collate = Callable[[list[dict[str, Any]]], dict[str, Tensor]]


class DivergenceError(AgwmError, RuntimeError):
    """Training gave a model whose outputs are not finite."""


@torch.no_grad()
def model_logits(
    model: nn.Module, examples: Sequence[dict[str, Any]], collate: Collate, batch_size: int = 64
) -> Tensor:  # shape: (examples, labels)
    """Return the model's outputs in the order of the examples, in evaluation mode.

    The mode that the model was in is put back; no random number is drawn.

    Args:
        model: A model whose output has ``logits``; mixed or plain.
        examples: Encoded examples.
        collate: Makes a padded batch of a list of them.
        batch_size: Examples a pass.

    Returns:
        The logits on the CPU, in float32.

    Raises:
        DivergenceError: If a number is NaN or infinite.
    """
    device = next(model.parameters()).device
    rows = list(examples)
    # Examples of like length together: less padding.
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]["input_ids"]))
    was_training = model.training
    model.eval()
    parts: list[Tensor] = []
    mixup = mixup_of(model)
    try:
        with nullcontext() if mixup is None else mixup.cached():
            for start in range(0, len(order), batch_size):
                batch = collate([rows[index] for index in order[start : start + batch_size]])
                inputs = {key: value for key, value in batch.items() if key != "labels"}
                parts.append(model(**to_device(inputs, device)).logits.float().cpu())
    finally:
        model.train(was_training)
    logits = torch.cat(parts)
    if not bool(torch.isfinite(logits).all()):
        raise DivergenceError(
            f"Model outputs are not finite: expected numbers for {len(rows)} examples, got NaN or infinity."
            " Training diverged: lower the learning rate."
        )
    return logits[torch.tensor(order).argsort()]


def evaluate(
    model: nn.Module,
    task: Task,
    examples: Sequence[dict[str, Any]],
    labels: Sequence[float],
    collate: Collate,
    batch_size: int = 64,
) -> float:
    """Return the task's score of a model, as a fraction.

    Raises:
        DivergenceError: If an output is NaN or infinite.
    """
    logits = model_logits(model, examples, collate, batch_size)
    return compute_metric(task.metric, predictions_from_logits(logits, task), labels)


def constant_score(task: Task, labels: Sequence[float]) -> float:
    """Return the best score of an answer that is the same for all examples.

    The share of the largest class for accuracy; 0 for correlations; for F1 that of "always class 1".
    A run whose score is not above it is called degenerate.
    """
    if task.is_regression:
        return 0.0
    answers = (torch.full((len(labels),), label) for label in range(task.num_labels))
    return max(compute_metric(task.metric, answer, labels) for answer in answers)
