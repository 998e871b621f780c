"""R-Drop: two dropout masks should give one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from agwm.checks import NonNegative
from agwm.methods.divergence import squared_distance, symmetric_kl
from agwm.methods.method import OneLevelMethod, Settings
from agwm.models.families import is_regression
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig

__all__ = ["RDrop", "RDropSettings", "has_dropout"]

# Dropout without a module, as BART has it: settings of the model that turn it on.
_FUNCTIONAL = ("dropout", "attention_dropout", "activation_dropout")


@dataclass(frozen=True)
class RDropSettings(Settings):
    """Settings of :class:`RDrop`.

    Attributes:
        weight: Alpha, the factor of half the symmetric divergence, or of the squared distance of scores.
        reduction: Of the divergence over the batch: ``"mean"``, or ``"sum"`` as in the authors' code for
            Hugging Face models, which makes the weight grow with the batch.
    """

    weight: NonNegative = 1.0
    reduction: Literal["mean", "sum"] = "mean"


def has_dropout(model: nn.Module) -> bool:
    """Return whether dropout makes two passes in training mode differ."""
    if any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules()):
        return True
    return any((getattr(model.config, name, 0.0) or 0.0) > 0 for name in _FUNCTIONAL)


class RDrop(OneLevelMethod):
    r"""Regularized dropout.

    .. math::
        L = \frac12 [\ell(f_1, y) + \ell(f_2, y)]
            + \frac{\alpha}{2} \frac1B \sum_b [KL(p_{1b} \| p_{2b}) + KL(p_{2b} \| p_{1b})]

    with two passes :math:`f_1, f_2` that differ by their dropout masks, computed as one pass of the batch
    written twice; of one label :math:`\alpha \cdot MSE(f_1, f_2)` stands for the second term. Gradient
    flows through both passes.

    Reference:
        Liang et al., "R-Drop: regularized dropout for neural networks", NeurIPS 2021.
    """

    name = "r_drop"
    acts_on = ("loss",)
    settings_class = RDropSettings
    passes_per_step = 2

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise where there is no dropout: both passes would be the same."""
        if not has_dropout(loaded.model):
            raise self.refuse(
                loaded.model, "expected dropout above 0, without which both passes are the same, got 0."
            )

    def initialize(self, loaded: Pretrained, seed: int) -> None:
        """Raise where there is no dropout, before it would be vanilla at twice the price."""
        self.check(loaded, FinetuneConfig())

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch, of two passes."""
        output = model(**{key: torch.cat([value, value]) for key, value in batch.items()})
        first, second = output.logits.chunk(2)
        if is_regression(model):
            distance = squared_distance(first, second, self.settings.reduction)
        else:
            distance = symmetric_kl(first, second, self.settings.reduction) / 2
        return output.loss + self.settings.weight * distance
