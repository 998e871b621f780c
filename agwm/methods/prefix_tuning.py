"""Prefix-tuning: train extra keys and values in every layer of a frozen model, with the peft library."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from agwm.methods.adapters import fresh_modules, peft_library
from agwm.methods.virtual_tokens import VirtualTokens, VirtualTokenSettings
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig

__all__ = ["PrefixTuning", "PrefixTuningSettings"]


@dataclass(frozen=True)
class PrefixTuningSettings(VirtualTokenSettings):
    """Settings of :class:`PrefixTuning`.

    Attributes:
        projection: True computes the prefixes by a map of two layers; False trains them directly.
    """

    projection: bool = False


class PrefixTuning(VirtualTokens):
    r"""Deep prompts: :math:`\mathrm{softmax}(Q [P_K; K]^T / \sqrt d) [P_V; V]` in every layer.

    The method trains the prefixes and the head. The prefixes are a table of shape (m, 2 layers hidden) with
    one row per virtual token. Positions of the tokens are shifted by m, as in P-tuning v2. The model
    pools the same token as without prefixes.

    Reference:
        Li and Liang, "Prefix-tuning", ACL 2021; Liu et al., "P-tuning v2", ACL 2022.
    """

    name = "prefix_tuning"
    settings_class = PrefixTuningSettings

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if the model's attention takes no keys and values from outside."""
        super().check(loaded, recipe)
        model = loaded.model
        if model.config.is_encoder_decoder:
            raise self.refuse(
                model,
                "expected an encoder or a decoder, got both: peft gives the prefixes to the decoder alone,"
                " and not in sequence classification.",
            )
        if "past_key_values" not in inspect.signature(model.base_model.forward).parameters:
            raise self.refuse(
                model,
                "expected attention that takes keys and values from outside, got a backbone without"
                " 'past_key_values'.",
            )
        if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
            raise self.refuse(
                model, "expected no gradient checkpointing, got it on: peft cannot do both.", "Turn it off."
            )

    def adapter_config(self, loaded: Pretrained) -> Any:
        """Return the settings of the prefixes."""
        return peft_library(self.name).PrefixTuningConfig(
            task_type="SEQ_CLS",
            num_virtual_tokens=self.settings.num_virtual_tokens,
            prefix_projection=self.settings.projection,
            modules_to_save=fresh_modules(loaded),
        )
