"""The backbone of a model: what was pretrained, without fresh heads and adapters."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from torch import nn
from transformers import PreTrainedModel

__all__ = ["backbone_modules"]

_HEADS = (
    "classifier",
    "classification_head",
    "score",
    "lm_head",
    "logits_proj",
    "qa_outputs",
    "sequence_summary",
)
# freshly initialised heads that lie inside base_model, by the model_type of the configuration
_HEADS_WITHIN = {"perceiver": ("decoder",)}


def backbone_modules(model: nn.Module) -> set[int]:
    """Return the ids of the modules whose weights are pretrained.

    Of a Hugging Face model these are the modules of ``model.base_model``; of a wrapper (compiled,
    distributed, peft's, an own module around an encoder) those of the Hugging Face models in it; of
    a model without any, all. Adapters of peft in them are fresh and do not count.
    """
    hugging_face = list(_outermost(model))
    if not hugging_face:
        return {id(module) for module in model.modules()} - _adapters(model)
    return {id(module) for found in hugging_face for module in _of_hugging_face(found)} - _adapters(model)


def _outermost(model: nn.Module) -> Iterator[PreTrainedModel]:
    if isinstance(model, PreTrainedModel):
        yield model
        return
    for child in model.children():
        yield from _outermost(child)


def _of_hugging_face(model: PreTrainedModel) -> Iterator[nn.Module]:
    backbone = model.base_model
    names = _HEADS_WITHIN.get(model.config.model_type, ())
    if backbone is model:
        names = (*names, *_HEADS)
    heads = [child for name, child in backbone.named_children() if name in names]
    outside = {id(module) for head in heads for module in head.modules()}
    return (module for module in backbone.modules() if id(module) not in outside)


def _adapters(model: nn.Module) -> set[int]:
    """Return the ids of the modules that peft put beside the layers of a model."""
    if "peft" not in sys.modules:  # a model with adapters was made by it
        return set()
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    found: set[int] = set()
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            own = module.get_base_layer()
        elif isinstance(module, AuxiliaryTrainingWrapper):
            own = module.original_module
        else:
            continue
        found |= {id(part) for part in module.modules()} - {id(part) for part in own.modules()}
    return found
