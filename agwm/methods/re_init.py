"""Start the top blocks from random weights instead of pretrained ones."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm.checks import Interval
from agwm.methods.method import OneLevelMethod, Settings
from agwm.models.families import poolers, stacks
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.rng import RngState, seed_everything

__all__ = ["ReInit", "ReInitSettings", "draw_like", "untouched"]

# Data order has the same seed; this number gives these draws another stream.
_STREAM = 0x7E1717


@torch.no_grad()
def draw_like(model: PreTrainedModel, module: nn.Module) -> dict[str, Tensor]:
    """Draw new values for the parameters of a module, as the model's class does before pretraining.

    That is ``_init_weights`` of its class: for linear maps N(0, ``initializer_range``) with bias 0, for
    norms 1 and 0, and what the class says of parameters of its own, such as those of XLNet's attention.

    Args:
        model: Knows how; not changed.
        module: A part of it; not changed.

    Returns:
        Name of a parameter in the module -> its new value, on the CPU; NaN where the class does not say.
    """
    twin = copy.deepcopy(module).cpu()
    # transformers marks the parameters that it has loaded and does not initialize them again. A copied
    # parameter has lost the mark.
    for parameter in twin.parameters():
        parameter.fill_(float("nan"))
    twin.apply(cast(PreTrainedModel, model.base_model)._init_weights)
    return {name: parameter.detach() for name, parameter in twin.named_parameters()}


def untouched(drawn: dict[str, Tensor]) -> list[str]:
    """Return the names of the parameters that were not drawn in full."""
    return [name for name, value in drawn.items() if bool(value.isnan().any())]


@dataclass(frozen=True)
class ReInitSettings(Settings):
    """Settings of :class:`ReInit`.

    Attributes:
        num_blocks: L, blocks from the top that start from random weights.
        pooler: Whether the pooler does too, where there is one.
    """

    num_blocks: Annotated[int, Interval(0)] = 2
    pooler: bool = True


class ReInit(OneLevelMethod):
    """Vanilla finetuning that starts the top L blocks and the pooler from random weights.

    They are drawn as the model's own class initializes them, on the CPU, from a stream of their own: the
    same whatever the device, and without effect on data order and dropout. Embeddings, lower blocks and a
    norm behind the last block keep their pretrained weights. Of BART the blocks are the decoder's.

    Reference:
        Zhang et al., "Revisiting Few-sample BERT Fine-tuning", ICLR 2021.
    """

    name = "re_init"
    acts_on = ("initialization",)
    settings_class = ReInitSettings

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise where there are too few blocks, or one that the model's class does not initialize."""
        self._draw(loaded.model, seed=0)

    def initialize(self, loaded: Pretrained, seed: int) -> None:
        """Draw anew."""
        drawn = self._draw(loaded.model, seed)
        with torch.no_grad():
            for parameter, value in drawn:
                parameter.copy_(value)

    def _draw(self, model: PreTrainedModel, seed: int) -> list[tuple[nn.Parameter, Tensor]]:
        """Return parameters with new values, which are not yet written; no other draw is changed."""
        state = RngState.capture(model.device)
        seed_everything(int(np.random.SeedSequence([seed, _STREAM]).generate_state(1)[0]))
        try:
            drawn = [(module, draw_like(model, module)) for module in self._modules(model)]
        finally:
            state.restore()
        for _, values in drawn:
            if left := untouched(values):
                raise self.refuse(
                    model,
                    f"expected a class that initializes every weight of a block, got not {left[0]!r}.",
                )
        return [
            (module.get_parameter(name), value)
            for module, values in drawn
            for name, value in values.items()
        ]

    def _modules(self, model: PreTrainedModel) -> list[nn.Module]:
        """Return the blocks and poolers that start anew."""
        layers, asked = stacks(model)[-1][1], self.settings.num_blocks
        if asked > len(layers):
            raise self.refuse(
                model,
                f"expected num_blocks of at most {len(layers)}, got {asked}.",
                f"Set rivals.re_init.num_blocks to {len(layers)} or less.",
            )
        return layers[len(layers) - asked :] + (poolers(model) if self.settings.pooler else [])
