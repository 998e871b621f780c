r"""A last block of a stock encoder that computes the mean of the hidden states, exactly enough.

With queries and keys of 0 the attention is uniform over the tokens that are not padding. With values
:math:`x_i` and a large output map :math:`c I` the residual does not count, so the norm behind gives

.. math:: \mathrm{LN}(c \cdot \mathrm{mean}_i x_i + x_0) \approx \mathrm{LN}(\mathrm{mean}_i x_i),

and a feed-forward map of 0 leaves that as it is. The head's inner map gets :math:`s I`, in which tanh and
gelu are nearly linear. So plain transformers computes the mean with its own classes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel

from agwm.models.heads import class_layer

__all__ = ["can_pool_uniformly", "pool_uniformly"]

# c: the residual is a 1000th of what the head reads; half precision still holds c times a mean.
_MEAN_FACTOR = 1e3
# s: |x| of a normed vector is mostly below 5; tanh(0.01 x) is 0.01 x to 0.1 %.
_HEAD_FACTOR = 1e-2
# ReLU is linear above 0; the entries of a normed vector of d numbers are below sqrt(d).
_RELU_SHIFT = 32.0


@dataclass(frozen=True)
class _Names:
    """Names of the parts of a block in it, and of a head in its model."""

    zero: tuple[str, ...]  # query and key, both maps of the feed-forward network
    value: str
    output: str
    norms: tuple[str, str]
    inner: tuple[str, ...]  # the head's map before the last; the first that is there
    shift: float = 0.0


_BERT = _Names(
    (
        "attention.self.query",
        "attention.self.key",
        "intermediate.dense",
        "output.dense",
    ),
    "attention.self.value",
    "attention.output.dense",
    ("attention.output.LayerNorm", "output.LayerNorm"),
    ("classifier.dense", "bert.pooler.dense"),
)
_DISTILBERT = _Names(
    ("attention.q_lin", "attention.k_lin", "ffn.lin1", "ffn.lin2"),
    "attention.v_lin",
    "attention.out_lin",
    ("sa_layer_norm", "output_layer_norm"),
    ("pre_classifier",),
    _RELU_SHIFT,
)
_FAMILIES = {
    "bert": ("encoder.layer", _BERT),
    "roberta": ("encoder.layer", _BERT),
    "xlm-roberta": ("encoder.layer", _BERT),
    "camembert": ("encoder.layer", _BERT),
    "electra": ("encoder.layer", _BERT),
    "distilbert": ("transformer.layer", _DISTILBERT),
}


def can_pool_uniformly(model: PreTrainedModel) -> bool:
    """Return True if the model is of a family whose blocks can compute the mean (BERT and its kin)."""
    if model.config.model_type not in _FAMILIES or not type(model).__module__.startswith("transformers."):
        return False
    stack, names = _FAMILIES[model.config.model_type]
    known = dict(model.named_modules())
    block = f"{model.base_model_prefix}.{stack}.0"
    parts = (*names.zero, names.value, names.output, *names.norms)
    linears = (*names.zero, names.value, names.output)
    return (
        all(f"{block}.{part}" in known for part in parts)
        and all(getattr(known[f"{block}.{part}"], "bias", None) is not None for part in linears)
        and any(name in known for name in names.inner)
        and class_layer(model) is not None
        and not getattr(model.config, "is_decoder", False)
    )


@torch.no_grad()
def pool_uniformly(model: PreTrainedModel) -> nn.Linear:
    """Add a block to a classifier that computes the mean of the hidden states, and set its head to match.

    Args:
        model: A classifier for which :func:`can_pool_uniformly` is true; changed in place. Its config says
            that it has one block more.

    Returns:
        The last linear map of the head, of which the input is now the pooled vector, scaled.
    """
    stack, names = _FAMILIES[model.config.model_type]
    layers = cast(nn.ModuleList, model.base_model.get_submodule(stack))
    block = copy.deepcopy(layers[-1])
    for module in block.modules():
        if getattr(module, "layer_idx", None) is not None:
            vars(module)["layer_idx"] = len(layers)
    for name in names.zero:
        _set_identity(block.get_submodule(name), 0.0)
    _set_identity(block.get_submodule(names.value), 1.0)
    _set_identity(block.get_submodule(names.output), _MEAN_FACTOR)
    for name in names.norms:
        norm = cast(nn.LayerNorm, block.get_submodule(name))
        norm.weight.fill_(1.0)
        norm.bias.zero_()
    layers.append(block)
    model.config.num_hidden_layers = len(layers)
    inner = next(name for name in names.inner if name in dict(model.named_modules()))
    _set_identity(model.get_submodule(inner), 1.0 if names.shift else _HEAD_FACTOR, names.shift)
    return cast(nn.Linear, model.get_submodule(class_layer(model) or ""))


def _set_identity(module: nn.Module, factor: float, shift: float = 0.0) -> None:
    """Make a linear map multiply by a factor; 0 makes it give the shift alone."""
    linear = cast(nn.Linear, module)
    linear.weight.zero_()
    if factor:
        linear.weight.fill_diagonal_(factor)
    linear.bias.fill_(shift)
