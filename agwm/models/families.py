"""Find the parts of a model in every family: blocks, embeddings, pooler, head."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from agwm.errors import MethodError

__all__ = [
    "backbone_linears",
    "blocks",
    "final_norms",
    "head_names",
    "is_multi_label",
    "is_regression",
    "poolers",
    "stacks",
    "word_embeddings",
]

_POOLERS = ("pooler", "sequence_summary")
# Llama and its kin; GPT-2, Bloom; OPT, GPT-NeoX; Phi; mBART; ModernBERT; MPT; Megatron-BERT.
_FINAL_NORMS = (
    "norm",
    "ln_f",
    "final_layer_norm",
    "final_layernorm",
    "layer_norm",
    "final_norm",
    "norm_f",
    "ln",
)


def stacks(model: PreTrainedModel) -> list[tuple[nn.Module, list[nn.Module]]]:
    """Return pairs of a module and its list of transformer blocks, from the input to the output.

    BART has two lists, one in the encoder and one in the decoder.

    Raises:
        MethodError: If no list of blocks is found in the backbone.
    """
    found: list[tuple[str, nn.ModuleList]] = []
    for name, module in model.base_model.named_modules():
        is_inside = any(name.startswith(f"{outer}.") for outer, _ in found)
        if isinstance(module, nn.ModuleList) and len(module) > 0 and not is_inside:
            found.append((name, module))
    if not found:
        raise MethodError(
            f"No transformer blocks in {type(model).__name__}: expected a list of them in its backbone, got"
            " none. Choose a method that acts on all weights."
        )
    return [
        (model.base_model.get_submodule(name.rpartition(".")[0]), list(modules)) for name, modules in found
    ]


def blocks(model: PreTrainedModel) -> list[nn.Module]:
    """Return the transformer blocks from the input to the output. In BART the encoder's come first.

    Raises:
        MethodError: If no list of blocks is found in the backbone.
    """
    return [block for _, layers in stacks(model) for block in layers]


def final_norms(owner: nn.Module) -> list[nn.Module]:
    """Return the norm that follows the last block of a list, in a list; find it by its usual names.

    Args:
        owner: Module that holds the list of blocks. A child called ``LayerNorm`` does not count, because
            DeBERTa's belongs to the embeddings.
    """
    return [module for name, module in owner.named_children() if name in _FINAL_NORMS]


def head_names(model: PreTrainedModel) -> list[str]:
    """Return the names of the parameters outside the backbone."""
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    return [name for name, parameter in model.named_parameters() if id(parameter) not in inside]


def poolers(model: PreTrainedModel) -> list[nn.Module]:
    """Return the poolers: modules with weights between the last block and the classifier.

    BERT has its pooler in the backbone. DeBERTa and XLNet have theirs in the head.
    """
    return [
        module
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in _POOLERS and any(True for _ in module.parameters())
    ]


def backbone_linears(model: PreTrainedModel) -> dict[str, nn.Linear | Conv1D]:
    """Return name of a module -> linear map, for the backbone. GPT-2 calls its maps ``Conv1D``."""
    inside = {id(module) for module in model.base_model.modules()}
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and id(module) in inside
    }


def word_embeddings(model: PreTrainedModel) -> list[nn.Module]:
    """Return the modules that embed the input's tokens: one, or in BART the encoder's and decoder's.

    A forward hook on them sees every embedding of a token that enters the model.
    """
    inner = [
        module
        for part in ("encoder", "decoder")
        if isinstance(
            module := getattr(getattr(model.base_model, part, None), "embed_tokens", None), nn.Module
        )
    ]
    return inner or [model.get_input_embeddings()]


def is_multi_label(model: nn.Module) -> bool:
    """Return True if an example may have any number of the labels, each with a probability of its own."""
    return getattr(getattr(model, "config", None), "problem_type", None) == "multi_label_classification"


def is_regression(model: nn.Module) -> bool:
    """Return True if the model gives one score for an example, not logits of classes."""
    num_labels = getattr(getattr(model, "config", None), "num_labels", None)
    return num_labels == 1 and not is_multi_label(model)
