"""LoRA: train low-rank changes of frozen weights with the peft library."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Annotated, Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from agwm.checks import Count, Fraction, Interval, NonNegative
from agwm.methods.adapters import Adapter, fresh_modules, peft_library
from agwm.methods.method import Settings
from agwm.models.families import backbone_linears
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig

__all__ = ["Lora", "LoraSettings"]

# Families for which peft knows no targets. XLNet's attention has raw tensors instead of linear maps, so
# only its feed-forward layers can be adapted.
_TARGETS: dict[str, list[str]] = {"xlnet": ["layer_1", "layer_2"]}


@dataclass(frozen=True)
class LoraSettings(Settings):
    """Settings of :class:`Lora`.

    Attributes:
        learning_rate: Peak learning rate; None: the rate of ``vanilla``, far too small here.
        epochs: Passes over the training set; None: as many as ``vanilla`` makes.
        rank: r, the rank of the change.
        scale: Alpha of LoRA. The change is multiplied by ``scale / rank``.
        dropout: Probability of dropout on the input of the low-rank maps.
        target_modules: Last parts of the names of linear maps to adapt; None: the family's targets, mostly
            queries and values.
    """

    learning_rate: NonNegative | None = 3e-4
    epochs: Annotated[int, Interval(0)] | None = 20
    rank: Count = 8
    scale: NonNegative = 16.0
    dropout: Fraction = 0.1
    target_modules: list[str] | None = None


class Lora(Adapter):
    r"""Low-rank adaptation: :math:`W_0 x + \frac{s}{r} B A x` with :math:`A, B` and the head trained.

    :math:`A \in R^{r \times in}` starts at random, :math:`B \in R^{out \times r}` at 0. After training
    the change is added to the weights, which gives a plain model.

    Reference:
        Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022.
    """

    name = "lora"
    settings_class = LoraSettings

    def targets(self, model: PreTrainedModel) -> list[str]:
        """Return the last parts of the names of the linear maps to adapt; empty if none are known."""
        if self.settings.target_modules is not None:
            return list(self.settings.target_modules)
        peft_library(self.name)
        known = importlib.import_module("peft.utils").TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
        kind = model.config.model_type
        return list(_TARGETS.get(kind) or known.get(kind) or [])

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if a target matches no linear map of the backbone, or no target is known."""
        super().check(loaded, recipe)
        targets = self.targets(loaded.model)
        names = backbone_linears(loaded.model)
        if not targets:
            raise self.refuse(
                loaded.model,
                f"expected a family whose maps to adapt are known, got {loaded.model.config.model_type!r}.",
                "Set rivals.lora.target_modules, for example [query, value].",
            )
        missing = [end for end in targets if not any(f".{name}".endswith(f".{end}") for name in names)]
        if missing:
            there = sorted({name.rpartition(".")[2] for name in names})
            remedy = [f"Set rivals.lora.target_modules to some of {', '.join(there)}."] if there else []
            raise self.refuse(
                loaded.model,
                f"expected linear maps of the backbone, got none named {missing[0]!r}.",
                *remedy,
            )

    def adapter_config(self, loaded: Pretrained) -> Any:
        """Return the settings of the low-rank maps."""
        targets = tuple(f".{end}" for end in self.targets(loaded.model))
        linears = backbone_linears(loaded.model)
        chosen = [linears[name] for name in linears if f".{name}".endswith(targets)]
        return peft_library(self.name).LoraConfig(
            task_type="SEQ_CLS",
            r=self.settings.rank,
            lora_alpha=self.settings.scale,
            lora_dropout=self.settings.dropout,
            target_modules=self.targets(loaded.model),
            modules_to_save=fresh_modules(loaded),
            # GPT-2 stores its weights transposed.
            fan_in_fan_out=bool(chosen) and all(isinstance(module, Conv1D) for module in chosen),
        )

    def finish(self, model: Any) -> nn.Module:
        """Return the plain model, with the change added to its weights."""
        return model.merge_and_unload().requires_grad_(True)
