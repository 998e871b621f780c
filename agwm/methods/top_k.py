"""Finetune only the top blocks, the pooler and the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from agwm.checks import Interval
from agwm.methods.method import OneLevelMethod, Settings
from agwm.models.families import blocks, final_norms, head_names, poolers, stacks
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig

__all__ = ["TopK", "TopKSettings", "trained_names"]


def trained_names(loaded: Pretrained, num_blocks: int) -> set[str]:
    """Return the names of the parameters that train when the lower blocks are frozen.

    These belong to the last ``num_blocks`` blocks, the norm that follows the last block, the pooler and the
    head. All weights that the checkpoint does not hold train too. In BART the decoder's blocks come first,
    from the top, then the encoder's. Embeddings are frozen, those of relative positions too.

    Args:
        loaded: The model.
        num_blocks: Number of blocks to train, at most the number that the model has.
    """
    model, left = loaded.model, num_blocks
    modules = poolers(model)
    for index, (owner, layers) in enumerate(reversed(stacks(model))):
        start = max(0, len(layers) - left)
        if index == 0 or left > 0:
            modules += [*layers[start:], *final_norms(owner)]
        left -= len(layers) - start
    inside = {id(parameter) for module in modules for parameter in module.parameters()}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in inside}
    return names | set(head_names(model)) | set(loaded.fresh)


@dataclass(frozen=True)
class TopKSettings(Settings):
    """Settings of :class:`TopK`.

    Attributes:
        num_blocks: K, the number of top blocks to train; 0: only the last norm, pooler and head.
    """

    num_blocks: Annotated[int, Interval(0)] = 3


class TopK(OneLevelMethod):
    """Train the top K transformer blocks, pooler and head. The rest keeps its pretrained weights.

    Frozen parameters take no gradient, and the optimizer does not hold them, so no decay moves them.
    Dropout stays on in frozen blocks.

    Reference:
        Houlsby et al., ICML 2019 ("variable finetuning"); no official code.
    """

    name = "top_k"
    acts_on = ("initialization",)
    settings_class = TopKSettings
    frozen: list[nn.Parameter]

    def check(self, loaded: Pretrained, recipe: FinetuneConfig | None = None) -> None:
        """Raise if the model has fewer than K blocks."""
        num = len(blocks(loaded.model))
        if self.settings.num_blocks > num:
            raise self.refuse(
                loaded.model,
                f"expected num_blocks of at most {num}, got {self.settings.num_blocks}.",
                f"Set rivals.top_k.num_blocks to {num} or less.",
            )

    def initialize(self, loaded: Pretrained, seed: int) -> None:
        """Freeze all parameters that do not train."""
        self.check(loaded)
        trained = trained_names(loaded, self.settings.num_blocks)
        self.frozen = [
            parameter
            for name, parameter in loaded.model.named_parameters()
            if name not in trained and parameter.requires_grad
        ]
        for parameter in self.frozen:
            parameter.requires_grad_(False)

    def finish(self, model: nn.Module) -> nn.Module:
        """Return the model, with all parameters taking gradient again."""
        for parameter in self.frozen:
            parameter.requires_grad_(True)
        return model
