"""R-Drop: train a model to give the same output under two dropout masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from agwm.checks import NonNegative
from agwm.methods.divergence import divergence_of, squared_distance
from agwm.methods.method import OneLevelMethod, Settings
from agwm.models.families import is_regression
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig

__all__ = ["RDrop", "RDropSettings", "has_dropout"]

# Settings that turn on dropout in models that have no module for it, such as BART.
_FUNCTIONAL = ("dropout", "attention_dropout", "activation_dropout")


@dataclass(frozen=True)
class RDropSettings(Settings):
    """Settings of :class:`RDrop`.

    Attributes:
        weight: Alpha, the factor of half the symmetric divergence, or of the squared distance of scores.
        reduction: Reduction of the divergence over the batch: ``"mean"``, or ``"sum"`` as in the authors'
            code for Hugging Face models. With ``"sum"`` the divergence grows with the batch.
    """

    weight: NonNegative = 1.0
    reduction: Literal["mean", "sum"] = "mean"


def has_dropout(model: nn.Module) -> bool:
    """Return True if dropout makes two passes in training mode differ."""
    if any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules()):
        return True
    return any((getattr(model.config, name, 0.0) or 0.0) > 0 for name in _FUNCTIONAL)


class RDrop(OneLevelMethod):
    r"""R-Drop: regularized dropout.

    .. math::
        L = \frac12 [\ell(f_1, y) + \ell(f_2, y)]
            + \frac{\alpha}{2} \frac1B \sum_b [KL(p_{1b} \| p_{2b}) + KL(p_{2b} \| p_{1b})]

    The two passes :math:`f_1, f_2` differ by their dropout masks. The method computes them as one pass over
    the batch, repeated twice. In regression the second term is :math:`\alpha \cdot MSE(f_1, f_2)`. With
    several labels an example KL is the sum over labels of that of "has it, or not". Gradient flows through
    both passes.

    Reference:
        Liang et al., "R-Drop: regularized dropout for neural networks", NeurIPS 2021.
    """

    name = "r_drop"
    acts_on = ("loss",)
    settings_class = RDropSettings
    passes_per_step = 2

    @property
    def is_mean(self) -> bool:
        """True unless the divergence is summed over the batch."""
        return bool(self.settings.reduction == "mean")

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if the model has no dropout, because both passes would be the same."""
        if not has_dropout(loaded.model):
            raise self.refuse(
                loaded.model, "expected dropout above 0, without which both passes are the same, got 0."
            )

    def initialize(self, loaded: Pretrained, seed: int) -> None:
        """Raise if the model has no dropout. R-Drop would be vanilla finetuning at twice the cost."""
        self.check(loaded, FinetuneConfig())

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch, from two passes."""
        output = model(**{key: torch.cat([value, value]) for key, value in batch.items()})
        first, second = output.logits.chunk(2)
        if is_regression(model):
            distance = squared_distance(first, second, self.settings.reduction)
        else:
            distance = divergence_of(model)(first, second, self.settings.reduction) / 2
        return output.loss + self.settings.weight * distance
