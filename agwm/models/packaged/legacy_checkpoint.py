"""Make a plain folder of a masked language model from a checkpoint of before safetensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig

from agwm.files import read_json
from agwm.models.packaged.smiles_tokenizer import smiles_tokenizer

__all__ = ["convert_reactions"]

# Keys of an old config that say how the network is built. Others are settings of generation, which today's
# transformers refuses in a model's config, or of experiments.
_STRUCTURE = (
    "attention_probs_dropout_prob", "classifier_dropout_prob", "embedding_size", "hidden_act",
    "hidden_dropout_prob", "hidden_size", "initializer_range", "inner_group_num", "intermediate_size",
    "layer_norm_eps", "max_position_embeddings", "num_attention_heads", "num_hidden_groups",
    "num_hidden_layers", "type_vocab_size", "vocab_size",
)  # fmt: skip


def convert_reactions(
    model_type: str, architecture: str, pattern: str
) -> Callable[[Sequence[Path], Path], None]:
    """Return a function that makes a model of reactions in SMILES plain.

    It takes the paths of config, pickled weights and vocabulary, and the folder to write into. The weights
    keep their names and bits; of the pickle nothing but tensors is read.

    Args:
        model_type: Name of the architecture in transformers, as configs have it (``"bert"``).
        architecture: Class that the weights are of.
        pattern: Regular expression of a token.
    """

    def make(paths: Sequence[Path], folder: Path) -> None:
        stored, weights, vocabulary = paths
        values = read_json(stored)
        config = AutoConfig.for_model(
            model_type,
            **{key: values[key] for key in _STRUCTURE if key in values},
            architectures=[architecture],
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
        )
        tokenizer = smiles_tokenizer(vocabulary, pattern, config.max_position_embeddings)
        tensors = torch.load(weights, map_location="cpu", weights_only=True)
        whole = {key: tensor.clone().contiguous() for key, tensor in tensors.items()}
        save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return make
