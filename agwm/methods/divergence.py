"""Distances between two outputs for the same example."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agwm.models.families import is_multi_label

__all__ = ["bernoulli_kl", "divergence_of", "squared_distance", "symmetric_kl"]

Divergence = Callable[[Tensor, Tensor, str], Tensor]


def symmetric_kl(
    first: Tensor,  # shape: (batch, classes)
    second: Tensor,  # shape: (batch, classes)
    reduction: str = "mean",
) -> Tensor:
    r"""Return :math:`KL(p \| q) + KL(q \| p) = \sum_c (p_c - q_c)(\log p_c - \log q_c)` of two logits.

    Computed in float32 or better. Both arguments receive gradient.

    Args:
        first: Logits of :math:`p`.
        second: Logits of :math:`q`.
        reduction: ``"mean"`` or ``"sum"`` over the batch. Classes are always summed.
    """
    dtype = torch.promote_types(first.dtype, torch.float32)
    log_p = first.to(dtype).log_softmax(-1)
    log_q = second.to(dtype).log_softmax(-1)
    rows = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1)
    return rows.sum() if reduction == "sum" else rows.mean()


def bernoulli_kl(
    first: Tensor,  # shape: (batch, labels)
    second: Tensor,  # shape: (batch, labels)
    reduction: str = "mean",
) -> Tensor:
    r"""Return the symmetric divergence of independent labels, of two logits :math:`x` and :math:`y`.

    .. math:: \sum_c KL(p_c \| q_c) + KL(q_c \| p_c) = \sum_c (p_c - q_c)(x_c - y_c),
        \quad p = \sigma(x),\ q = \sigma(y)

    with the divergence of "has the label, or not" for each label. Computed in float32 or better. Both
    arguments receive gradient.

    Args:
        first: Logits of :math:`p`.
        second: Logits of :math:`q`.
        reduction: ``"mean"`` or ``"sum"`` over the batch. Labels are always summed.
    """
    dtype = torch.promote_types(first.dtype, torch.float32)
    first, second = first.to(dtype), second.to(dtype)
    rows = ((first.sigmoid() - second.sigmoid()) * (first - second)).sum(-1)
    return rows.sum() if reduction == "sum" else rows.mean()


def divergence_of(model: nn.Module) -> Divergence:
    """Return the divergence of a classifier's outputs: of classes, or of independent labels."""
    return bernoulli_kl if is_multi_label(model) else symmetric_kl


def squared_distance(first: Tensor, second: Tensor, reduction: str = "mean") -> Tensor:
    """Return the mean or sum over the batch of the squared difference of two scores.

    Computed in float32 or better. Both arguments receive gradient.

    Args:
        first: Scores, one per example.
        second: Scores of the same shape.
        reduction: ``"mean"`` or ``"sum"``.
    """
    dtype = torch.promote_types(first.dtype, torch.float32)
    return F.mse_loss(first.to(dtype), second.to(dtype), reduction=reduction)
