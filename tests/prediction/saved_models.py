"""Tiny saved models of several families, each with a real tokenizer, saved as methods save them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, GPT2Config, PreTrainedTokenizerBase, T5Config

from agwm.cards import CardFacts
from agwm.methods.plain_checkpoint import write_plain
from agwm.prediction import SavedTask, write_task_file
from agwm.processing import fit_padding
from agwm.testing import FAMILIES
from tests.data.test_plain_text import byte_pairs, unigram, word_pieces

TOKENIZERS = {
    "bert": word_pieces,
    "electra": word_pieces,
    "roberta": byte_pairs,
    "deberta": byte_pairs,
    "bart": byte_pairs,
    "gpt2": byte_pairs,
    "llama": byte_pairs,
    "xlnet": unigram,
    "deberta-v2": unigram,
    "t5": unigram,
}
OTHERS = {
    "gpt2": lambda: GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.2),
    "t5": lambda: T5Config(
        d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=1
    ),
}
LENGTH = 24
NAMES = ["bug", "praise", "question"]


def make(
    family: str, num_labels: int = 3, problem_type: str | None = None
) -> tuple[Any, PreTrainedTokenizerBase]:
    """Build a tiny model of a family with random weights, and a tokenizer that fits it."""
    tokenizer = TOKENIZERS[family]()
    if family == "xlnet":
        tokenizer.padding_side = "left"
    config = {**FAMILIES, **OTHERS}[family]()
    config.vocab_size = len(tokenizer)
    config.eos_token_id, config.bos_token_id = tokenizer.eos_token_id, tokenizer.bos_token_id
    config.id2label = dict(enumerate(NAMES[:num_labels])) if num_labels > 1 else {0: "LABEL_0"}
    config.label2id = {name: index for index, name in config.id2label.items()}
    kinds = {1: "regression"}
    config.problem_type = problem_type or kinds.get(num_labels, "single_label_classification")
    config.pad_token_id = tokenizer.pad_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config).eval()
    fit_padding(model, tokenizer)
    return model, tokenizer


def save(
    folder: Path, family: str = "bert", num_labels: int = 3, problem_type: str | None = None, **task: Any
) -> Path:
    """Save a tiny model as a method does, with the task beside it; ``text_columns=None``: without."""
    model, tokenizer = make(family, num_labels, problem_type)
    folder.mkdir(parents=True, exist_ok=True)
    write_plain(model, tokenizer, folder, CardFacts(max_length=LENGTH))
    values = {"text_columns": ["text"], "label_columns": ["kind"], "metric": "accuracy", **task}
    if values["text_columns"] is not None:
        kind = model.config.problem_type
        names = None if kind == "regression" else list(model.config.id2label.values())
        values = {"label_names": names, "problem_type": kind, "max_length": LENGTH, **values}
        write_task_file(folder, SavedTask(**values))
    return folder
