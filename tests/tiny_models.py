"""Tiny models with other heads than a classifier's, and the BERT classifier most tests use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.architectures import BOS, EOS, NUM_LABELS, PAD, VOCAB_SIZE, text_batch

TOKENS = {
    "vocab_size": VOCAB_SIZE,
    "bos_token_id": BOS,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
}
INIT_STD = 0.2  # ten times the usual: no quantity a test looks at is vanishingly small
IGNORED = -100  # label of a position that does not count in the loss


@dataclass(frozen=True)
class TinyModel:
    """One tiny model.

    Args:
        build: Makes the model in training mode, float32, the same weights at every call. The
            caller's random state is left as it was.
        batch: Makes a labelled batch of three sequences, two of them padded.
        generates: Whether the model has ``generate``.
    """

    build: Callable[[], PreTrainedModel]
    batch: Callable[[], dict[str, Tensor]]
    generates: bool = False


def _seeded(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
    return model.train()


def _bert_config(num_labels: int, dropout: float, num_layers: int, hidden: int) -> BertConfig:
    return BertConfig(
        **TOKENS,
        hidden_size=hidden,
        num_hidden_layers=num_layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=INIT_STD,
        num_labels=num_labels,
    )


def tiny_bert(
    num_labels: int = 2,
    dropout: float = 0.1,
    num_layers: int = 2,
    hidden: int = 16,
    dtype: torch.dtype = torch.float32,
) -> BertForSequenceClassification:
    """Build a tiny BERT classifier, the same weights at every call with the same arguments.

    Args:
        num_labels: Classes; 1 makes it a regression.
        dropout: Probability of every dropout of the model, the head's included.
        num_layers: Transformer layers.
        hidden: Hidden size; even, as there are two heads.
        dtype: Dtype of the weights. Drawn in float32, so that dtypes differ by rounding alone.

    Returns:
        The model, in training mode.
    """
    config = _bert_config(num_labels, dropout, num_layers, hidden)
    return _seeded(lambda: BertForSequenceClassification(config)).to(dtype)


def bert_token_classifier() -> BertForTokenClassification:
    """Build a tiny BERT that labels tokens."""
    return _seeded(lambda: BertForTokenClassification(_bert_config(NUM_LABELS, 0.1, 2, 16)))


def bert_question_answerer() -> BertForQuestionAnswering:
    """Build a tiny BERT that marks an answer's start and end."""
    return _seeded(lambda: BertForQuestionAnswering(_bert_config(2, 0.1, 2, 16)))


def t5() -> T5ForConditionalGeneration:
    """Build a tiny T5; its embedding serves encoder, decoder and output."""
    config = T5Config(
        vocab_size=VOCAB_SIZE,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
    )
    return _seeded(lambda: T5ForConditionalGeneration(config))


def bart() -> BartForConditionalGeneration:
    """Build a tiny BART; its embedding serves encoder, decoder and output."""
    config = BartConfig(
        **TOKENS,
        decoder_start_token_id=EOS,
        forced_eos_token_id=EOS,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        init_std=INIT_STD,
    )
    return _seeded(lambda: BartForConditionalGeneration(config))


def gpt2() -> GPT2LMHeadModel:
    """Build a tiny GPT-2; its linear maps are ``Conv1D``, its output is the embedding."""
    config = GPT2Config(
        **TOKENS, n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=INIT_STD
    )
    return _seeded(lambda: GPT2LMHeadModel(config))


def llama(tied: bool = False) -> LlamaForCausalLM:
    """Build a tiny Llama.

    Args:
        tied: Whether the output map is the embedding, one parameter under two names.

    Returns:
        The model, in training mode.
    """
    config = LlamaConfig(
        **TOKENS,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=INIT_STD,
        tie_word_embeddings=tied,
    )
    return _seeded(lambda: LlamaForCausalLM(config))


def tied_llama() -> LlamaForCausalLM:
    """Build a tiny Llama whose output map is its embedding."""
    return llama(tied=True)


def language_batch() -> dict[str, Tensor]:
    """Build a batch whose labels are its own tokens, padding ignored.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, all int64 of shape (3, 12).
    """
    batch = text_batch()
    batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
    return batch


def token_batch() -> dict[str, Tensor]:
    """Build a batch with a class for every token, padding ignored.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, all int64 of shape (3, 12).
    """
    batch = text_batch()
    classes = batch["input_ids"] % NUM_LABELS
    batch["labels"] = classes.masked_fill(batch["attention_mask"] == 0, IGNORED)
    return batch


def span_batch() -> dict[str, Tensor]:
    """Build a batch with an answer span in every sequence.

    Returns:
        ``input_ids`` and ``attention_mask`` of shape (3, 12), ``start_positions`` and
        ``end_positions`` of shape (3,), all int64.
    """
    batch = text_batch()
    del batch["labels"]
    batch["start_positions"] = torch.tensor([1, 4, 2])
    batch["end_positions"] = torch.tensor([3, 7, 2])
    return batch


TINY_MODELS: dict[str, TinyModel] = {
    "bert-classifier": TinyModel(lambda: tiny_bert(num_labels=NUM_LABELS), text_batch),
    "bert-tokens": TinyModel(bert_token_classifier, token_batch),
    "bert-spans": TinyModel(bert_question_answerer, span_batch),
    "t5": TinyModel(t5, language_batch, generates=True),
    "bart": TinyModel(bart, language_batch, generates=True),
    "gpt2": TinyModel(gpt2, language_batch, generates=True),
    "llama": TinyModel(llama, language_batch, generates=True),
    "llama-tied": TinyModel(tied_llama, language_batch, generates=True),
}
