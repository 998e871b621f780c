"""Scores of a model on encoded examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agwm.batches import to_device
from agwm.data.tasks import Task
from agwm.errors import DataError, DivergenceError, ShapeError
from agwm.evaluation.constant import constant_outputs
from agwm.evaluation.outputs import outputs_of, predictions_of
from agwm.evaluation.scores import score
from agwm.mixing.injection import mixup_of

__all__ = ["constant_score", "evaluate", "model_logits", "predict", "predictions_from_logits"]

Collate = Callable[[list[dict[str, Any]]], dict[str, Tensor]]


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


def predictions_from_logits(
    logits: Tensor,  # shape: (examples, task.num_labels) or, for regression, (examples,)
    task: Task,
) -> Tensor:  # shape: (examples,)
    """Turn logits into predictions: the best class, the likely labels, or the one number of regression.

    Args:
        logits: Model outputs.
        task: The task they are for.

    Returns:
        Class indices (int64), or scores (float32 or wider) for regression. With several labels an example:
        0 and 1 (int64) of shape (examples, labels), 1 where the probability is above 0.5.

    Raises:
        ShapeError: If the shape does not fit the task.
        DataError: If a logit is NaN (an argmax would hide it).
    """
    wanted: list[tuple[int, ...]] = [(logits.shape[0], task.num_labels)] if logits.ndim else []
    if task.is_regression and logits.ndim == 1:
        wanted.append(tuple(logits.shape))
    if tuple(logits.shape) not in wanted:
        raise ShapeError(
            f"Logits do not fit task {task.name!r}: expected (examples, {task.num_labels}), got "
            f"{tuple(logits.shape)}. Load the model with num_labels={task.num_labels}."
        )
    rows = logits.detach().reshape(logits.shape[0], -1)
    bad = torch.isnan(rows).any(dim=1)
    if bad.any():
        raise DataError(
            f"Logits are not finite: expected numbers, got NaN for {int(bad.sum())} of {len(bad)} examples."
            " Lower the learning rate if training diverged."
        )
    if task.multi_label:
        return torch.from_numpy(predictions_of(outputs_of(rows, task), task))
    if not task.is_regression:
        return rows.argmax(dim=1)
    scores = rows.squeeze(1)
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores


def predict(
    model: nn.Module,
    task: Task,
    examples: Sequence[dict[str, Any]],
    collate: Collate,
    batch_size: int = 64,
) -> Tensor:  # shape: (examples,)
    """Return the model's answers, classes or scores, in the order of the examples.

    Raises:
        DivergenceError: If an output is NaN or infinite.
    """
    return predictions_from_logits(model_logits(model, examples, collate, batch_size), task)


def evaluate(
    model: nn.Module,
    task: Task,
    examples: Sequence[dict[str, Any]],
    labels: Sequence[Any],
    collate: Collate,
    batch_size: int = 64,
) -> float:
    """Return the task's score of a model, as a fraction.

    Raises:
        DivergenceError: If an output is NaN or infinite.
    """
    logits = model_logits(model, examples, collate, batch_size)
    return score(task.metric, outputs_of(logits, task), labels, task)


def constant_score(task: Task, labels: Sequence[Any]) -> float:
    """Return the best score of an answer that is the same for all examples.

    The share of the largest class for accuracy; 0 for correlations; for F1 that of "always positive"; for
    log loss and errors the lowest (:func:`agwm.evaluation.constant.constant_outputs`).
    A run whose score is not above it is called degenerate.

    Raises:
        DataError: If roc_auc is undefined for the labels.
    """
    answer = constant_outputs(task.metric, labels, task)
    return score(task.metric, np.tile(answer, (len(labels), 1)), labels, task)
