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

# The data order uses the same seed. This number gives the new weights another random stream.
_STREAM = 0x7E1717


@torch.no_grad()
def draw_like(model: PreTrainedModel, module: nn.Module) -> dict[str, Tensor]:
    """Draw new values for the parameters of a module, as the model's class does before pretraining.

    The function calls ``_init_weights`` of the class. Linear maps get N(0, ``initializer_range``) and bias
    0, norms get 1 and 0. The class decides about its own parameters, such as those of XLNet's attention.

    Args:
        model: The model, whose class initializes weights. It is not changed.
        module: A module of the model. It is not changed.

    Returns:
        Name of a parameter in the module -> its new value, on the CPU. Entries that the class does not
        initialize are NaN.
    """
    twin = copy.deepcopy(module).cpu()
    # transformers marks the parameters that it has loaded and does not initialize them again. A copied
    # parameter has lost the mark.
    for parameter in twin.parameters():
        parameter.fill_(float("nan"))
    twin.apply(cast(PreTrainedModel, model.base_model)._init_weights)
    return {name: parameter.detach() for name, parameter in twin.named_parameters()}


def untouched(drawn: dict[str, Tensor]) -> list[str]:
    """Return the names of the parameters with entries that the class did not initialize."""
    return [name for name, value in drawn.items() if bool(value.isnan().any())]


@dataclass(frozen=True)
class ReInitSettings(Settings):
    """Settings of :class:`ReInit`.

    Attributes:
        num_blocks: L, the number of top blocks that start from random weights.
        pooler: True to start the pooler from random weights too, if there is one.
    """

    num_blocks: Annotated[int, Interval(0)] = 2
    pooler: bool = True


class ReInit(OneLevelMethod):
    """Vanilla finetuning that starts the top L blocks and the pooler from random weights.

    The model's own class initializes them. The draws happen on the CPU, from a random stream of their own.
    So they are the same on every device, and do not affect data order and dropout. Embeddings, lower
    blocks and a norm behind the last block keep their pretrained weights. In BART the blocks are the
    decoder's.

    Reference:
        Zhang et al., "Revisiting Few-sample BERT Fine-tuning", ICLR 2021.
    """

    name = "re_init"
    acts_on = ("initialization",)
    settings_class = ReInitSettings

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if there are too few blocks, or the model's class does not initialize one in full."""
        self._draw(loaded.model, seed=0)

    def initialize(self, loaded: Pretrained, seed: int) -> None:
        """Write random weights into the top blocks and the pooler."""
        drawn = self._draw(loaded.model, seed)
        with torch.no_grad():
            for parameter, value in drawn:
                parameter.copy_(value)

    def _draw(self, model: PreTrainedModel, seed: int) -> list[tuple[nn.Parameter, Tensor]]:
        """Return parameters with their new values, without writing them. Restore the random state."""
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
        """Return the blocks and poolers that start from random weights."""
        layers, asked = stacks(model)[-1][1], self.settings.num_blocks
        if asked > len(layers):
            raise self.refuse(
                model,
                f"expected num_blocks of at most {len(layers)}, got {asked}.",
                f"Set rivals.re_init.num_blocks to {len(layers)} or less.",
            )
        return layers[len(layers) - asked :] + (poolers(model) if self.settings.pooler else [])
