"""Class weights: a weighted loss for every method, because it is put on what the model itself returns."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from agwm.errors import ConfigError, ShapeError

__all__ = ["balanced_weights", "class_weighted", "weighted_loss"]

_MULTI_LABEL = "multi_label_classification"


def balanced_weights(labels: Sequence[Any] | np.ndarray, num_labels: int) -> Tensor:  # shape: (num_labels,)
    r"""Return the weights under which all classes count alike in the loss.

    :math:`w_c = n / (k\, n_c)`, with k the number of classes that the labels have. With several labels an
    example :math:`w_c = (n - n_c) / n_c`, so that having a label and not having it count alike. The weight
    is 1 for classes without an example, and for labels that none or all have: there is nothing to balance.

    Args:
        labels: A class index for each example, or a row of 0 and 1 for each.
        num_labels: Number of classes, or labels.

    Returns:
        float32 weights, in index order.

    Raises:
        ShapeError: If the labels are neither of the two.

    Example:
        >>> balanced_weights([0, 0, 0, 1], 2)
        tensor([0.6667, 2.0000])
    """
    array = np.asarray(labels)
    weights = np.ones(num_labels)
    if array.ndim == 2 and array.shape[1] == num_labels:
        counts = array.sum(axis=0)
        some = (counts > 0) & (counts < len(array))
        weights[some] = (len(array) - counts[some]) / counts[some]
    elif array.ndim == 1 and np.isin(array, np.arange(num_labels)).all() and array.size:
        present = np.unique(array).astype(int)
        weights[present] = compute_class_weight("balanced", classes=np.unique(array), y=array)
    else:
        raise ShapeError(
            f"Labels have no classes to weigh: expected a class index below {num_labels}, or a row of"
            f" {num_labels} zeros and ones, for each example, got shape {array.shape}. Leave class weights"
            " out."
        )
    return torch.tensor(weights, dtype=torch.float32)


def weighted_loss(
    logits: Tensor,  # shape: (batch, k)
    labels: Tensor,  # shape: (batch,), or (batch, k) with several labels an example
    weights: Tensor,  # shape: (k,)
) -> Tensor:
    r"""Return the weighted loss of a batch, in float32 or better.

    The mean of :math:`-\log p_n(y_n)`, each with the weight of its class and divided by the sum of the
    weights, as ``torch.nn.CrossEntropyLoss`` has it. So in a batch of one example weights change nothing.
    With several labels an example: the mean binary cross-entropy, in which the weight of a label
    multiplies the loss of the examples that have it (``pos_weight``).

    Args:
        logits: Outputs of the model; they receive the gradient.
        labels: int64 classes, or float zeros and ones.
        weights: One for each class, or label.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    weights = weights.to(logits)
    if labels.is_floating_point():
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), pos_weight=weights)
    return F.cross_entropy(logits, labels.view(-1), weight=weights)


@contextmanager
def class_weighted(model: nn.Module, weights: Tensor | None) -> Iterator[None]:
    """Context manager: let ``model(**batch).loss`` be :func:`weighted_loss`.

    That holds in this thread for the model, for wrappers around it such as those of peft, for its copies
    and for calls with other weights (``torch.func.functional_call``): for whatever is called with
    ``labels`` by name and returns logits of as many classes. Afterwards all is as it was.

    Args:
        model: The model, with a ``config``; used for the checks alone.
        weights: Shape (classes,), finite and not negative; None: the loss stays as it is.

    Raises:
        ConfigError: If the model is a regression, or a weight is negative, NaN or infinite.
        ShapeError: If there are not as many weights as classes.
    """
    if weights is None:
        yield
        return
    _check(model, weights)
    owner = threading.get_ident()

    def reweigh(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        labels, logits = kwargs.get("labels"), getattr(output, "logits", None)
        if labels is None or logits is None or threading.get_ident() != owner:
            return None
        if logits.ndim == 2 and logits.shape[1] == len(weights):
            output.loss = weighted_loss(logits, labels, weights)
        return output

    # Not a hook of the model: peft calls the forward method of what it wraps, past its hooks.
    handle = register_module_forward_hook(reweigh, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _check(model: nn.Module, weights: Tensor) -> None:
    """Raise unless the weights fit the model.

    Raises:
        ConfigError: If the model is a regression, or a weight is negative, NaN or infinite.
        ShapeError: If there are not as many weights as classes.
    """
    config: Any = getattr(model, "config", None)
    num_labels = getattr(config, "num_labels", None)
    if num_labels == 1 and getattr(config, "problem_type", None) != _MULTI_LABEL:
        raise ConfigError(
            "Class weights do not fit a regression: expected classes, got scores. Leave class weights out."
        )
    if weights.ndim != 1 or (num_labels is not None and len(weights) != num_labels):
        raise ShapeError(
            f"Class weights do not fit the model: expected shape ({num_labels},), got"
            f" {tuple(weights.shape)}. Give one for each class."
        )
    if not bool((torch.isfinite(weights) & (weights >= 0)).all()) or not bool((weights > 0).any()):
        raise ConfigError(
            "Class weights are wrong: expected finite numbers, none below 0 and one above, got"
            f" {[round(float(one), 4) for one in weights[:5]]}. Correct them."
        )
