"""Start a new head at the constant answer of least loss, and in the spread of the scores."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from agwm.models.heads import class_layer
from agwm.models.pretrained import Pretrained

__all__ = ["constant_logits", "start_head"]

_PRIOR = 0.5  # examples of each class, and of its absence, beside those that are there


def constant_logits(labels: np.ndarray, num_labels: int) -> np.ndarray:  # shape: (k,)
    r"""Return the logits that have the least loss of all that are the same for every example.

    The mean in regression; :math:`\log p_c` for classes; :math:`\log(p_c / (1 - p_c))` for several labels
    an example. The shares count half an example of each class more, so that they are finite.

    Args:
        labels: Scores (float, shape (n,)), classes (int, shape (n,)), or zeros and ones (shape (n, k)).
        num_labels: Number of outputs.

    Example:
        >>> constant_logits(np.array([1.0, 4.0]), 1)
        array([2.5])
        >>> np.exp(constant_logits(np.array([0, 0, 0, 1]), 2)).round(2)
        array([0.7, 0.3])
    """
    if labels.ndim == 2:
        counts = labels.sum(axis=0) + _PRIOR
        return np.log(counts / (len(labels) + 2 * _PRIOR - counts))
    if labels.dtype.kind == "f":
        return np.array([labels.mean()])
    counts = np.bincount(labels, minlength=num_labels) + _PRIOR
    return np.log(counts / counts.sum())


@torch.no_grad()
def start_head(loaded: Pretrained, labels: np.ndarray) -> None:
    r"""Let a new head start at :func:`constant_logits`, and in the spread of the scores, in place.

    A head that starts at 0 has to learn the mean of the scores first. AdamW moves a bias by the learning
    rate a step, so that takes most of a short training. The bias becomes the constant logits, and in
    regression the weight is multiplied by the scores' standard deviation. A head of the checkpoint stays
    as it is, and so does a bias that the model does not have.

    Args:
        loaded: The model. Only the last layer of its head is changed.
        labels: Those of the training examples, as :func:`constant_logits` takes them.
    """
    name = class_layer(loaded.model)
    if name is None or f"{name}.weight" not in loaded.fresh:
        return
    layer = loaded.model.get_submodule(name)
    weight, bias = cast(Tensor, layer.weight), cast(Tensor | None, layer.bias)
    if bias is not None:
        bias.copy_(torch.as_tensor(constant_logits(labels, len(weight))))
    if labels.ndim == 1 and labels.dtype.kind == "f" and labels.std() > 0:
        weight.mul_(float(labels.std()))
