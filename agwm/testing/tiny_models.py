"""Tiny classifiers with random weights, one of each family that methods are compared on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BertConfig,
    DebertaConfig,
    DebertaV2Config,
    ElectraConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    XLNetConfig,
)

from agwm.models.families import head_names
from agwm.models.pretrained import Pretrained
from agwm.testing.tokens import save_tokenizer

__all__ = ["FAMILIES", "batch", "examples", "pretrained"]

VOCAB_SIZE, LENGTH = 99, 8
_SHARED: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
_RELATIVE: dict[str, Any] = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
_BART: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 64,
    "init_std": 0.2,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
}
_XLNET: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "d_model": 16,
    "n_layer": 3,
    "n_head": 2,
    "d_inner": 32,
    "initializer_range": 0.2,
}
FAMILIES: dict[str, Callable[[], PreTrainedConfig]] = {
    "bert": lambda: BertConfig(**_SHARED),
    "roberta": lambda: RobertaConfig(**_SHARED),
    "electra": lambda: ElectraConfig(embedding_size=16, **_SHARED),
    "deberta": lambda: DebertaConfig(**_SHARED, **_RELATIVE),
    "deberta-v2": lambda: DebertaV2Config(**_SHARED, **_RELATIVE),
    "xlnet": lambda: XLNetConfig(**_XLNET),
    "bart": lambda: BartConfig(**_BART),
    "llama": lambda: LlamaConfig(num_key_value_heads=2, **_SHARED),
}


def pretrained(family: str, num_labels: int = 2, tmp_path: Path | None = None) -> Pretrained:
    """Build a tiny model of a family, the same weights at every call.

    Args:
        family: A key of ``FAMILIES``.
        num_labels: Classes; 1 makes it a regression.
        tmp_path: Folder for a real tokenizer; None: no tokenizer.

    Returns:
        The model in evaluation mode; its head counts as fresh.
    """
    config = FAMILIES[family]()
    config.num_labels = num_labels
    config.problem_type = "regression" if num_labels == 1 else "single_label_classification"
    if num_labels > 1:  # names of their own: transformers leaves default names out of BART's file
        config.id2label = {index: f"class {index}" for index in range(num_labels)}
        config.label2id = {name: index for index, name in config.id2label.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config).eval()
    tokenizer: Any = None
    if tmp_path is not None:
        save_tokenizer(tmp_path)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    return Pretrained(model, tokenizer, tuple(head_names(model)))


def examples(num: int = 24, num_labels: int = 2, side: str | None = None) -> list[dict[str, torch.Tensor]]:
    """Draw encoded examples whose label is told by one token.

    Args:
        num: Number of examples.
        num_labels: 1: labels are numbers.
        side: The side on which every third, shorter example is padded; None: all are of one length.
    """
    generator = torch.Generator().manual_seed(1)
    rows = []
    for index in range(num):
        tokens = torch.randint(10, VOCAB_SIZE, (LENGTH,), generator=generator)
        kind = index % 2
        tokens[1:4] = 5 + kind
        tokens[-1] = 1  # BART classifies at the last end token
        mask = torch.ones(LENGTH).long()
        if side is not None and index % 3 == 2:  # two tokens less, the end token stays
            tokens = torch.cat([tokens[:-3], tokens[-1:], torch.zeros(2).long()])
            mask[-2:] = 0
            if side == "left":
                tokens, mask = tokens.roll(2), mask.roll(2)
        label = torch.tensor(float(kind) if num_labels == 1 else kind)
        rows.append({"input_ids": tokens, "attention_mask": mask, "labels": label})
    return rows


def batch(num: int = 8, num_labels: int = 2, side: str | None = None) -> dict[str, torch.Tensor]:
    """Stack the first examples."""
    return torch.utils.data.default_collate(examples(num, num_labels, side))
