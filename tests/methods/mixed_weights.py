"""Weights that methods mix or drop, told by other means than theirs."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Heads", "is_mixed"]


class Heads(nn.Module):
    """Three stacked maps in one parameter: nothing tells which inputs they have."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.zeros(3, 4, 5))


def is_mixed(name: str) -> bool:
    """Tell BERT's mixed weights by their names alone."""
    return name.endswith("dense.weight") or name.endswith(("query.weight", "key.weight", "value.weight"))
