"""Distances between two outputs for the same example."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["squared_distance", "symmetric_kl"]


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
