"""AdamW written out on dicts of tensors, to check what methods do to its steps."""

from __future__ import annotations

import torch
from torch import Tensor

from agwm.training.loop import make_loader
from tests.methods.exact import _SEED, _data

__all__ = ["DECAY", "RATE", "SEED", "HandAdamW", "batches"]

# The learning rate and weight decay of tests.methods.exact.
RATE, DECAY, SEED = 1e-2, 0.1, _SEED


def batches(epochs: int = 1, num_labels: int = 2) -> list[dict[str, Tensor]]:
    """Return the batches of ``train_by`` over several epochs."""
    loader = make_loader(_data(num_labels), 8, torch.utils.data.default_collate, SEED)
    return [batch for _ in range(epochs) for batch in loader]


class HandAdamW:
    """Takes AdamW's steps with BERT's groups of decay, told by names alone."""

    def __init__(self) -> None:
        self.mean: dict[str, Tensor] = {}
        self.square: dict[str, Tensor] = {}
        self.num_steps = 0

    def step(self, now: dict[str, Tensor], slopes: dict[str, Tensor], clipping: float = 0.0) -> None:
        """Change the weights in ``now``."""
        self.num_steps += 1
        if clipping:
            norm = torch.sqrt(sum(slope.square().sum() for slope in slopes.values()))
            slopes = {name: slope * min(1.0, clipping / (norm + 1e-6)) for name, slope in slopes.items()}
        for name, slope in slopes.items():
            value = now[name]
            if not ("LayerNorm" in name or name.endswith("bias")):
                value = value - RATE * DECAY * value
            self.mean[name] = 0.9 * self.mean.get(name, 0.0) + 0.1 * slope
            self.square[name] = 0.999 * self.square.get(name, 0.0) + 0.001 * slope**2
            first = self.mean[name] / (1 - 0.9**self.num_steps)
            second = self.square[name] / (1 - 0.999**self.num_steps)
            now[name] = value - RATE * first / (second.sqrt() + 1e-8)
