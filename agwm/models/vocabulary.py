"""Compare a tokenizer with the embeddings of its model."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agwm.errors import ModelError, border
from agwm.processing import special_ids

__all__ = ["check_reading", "check_tokenizer"]

# Padded embeddings have up to 3 % more rows than tokens (Phi, DeepSeek, Pythia, DeBERTa-v3, T5). A share
# below this is another model's tokenizer. Tiny models for tests are let through.
_LEAST_SHARE, _SMALL = 0.9, 1000
_NUM_TRIED = 50
_REMEDY = "Put the tokenizer's files of this very model beside its weights, or pass another --model."


def check_tokenizer(name: str, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> list[str]:
    """Raise unless a tokenizer can be that of a model; return a note if it is doubtful.

    transformers makes an empty tokenizer where files are missing. With it, each word is the unknown token.

    Args:
        name: The model, as the user calls it.
        tokenizer: The tokenizer that was loaded with the model.
        model: The model.

    Raises:
        ModelError: If the tokenizer is empty, knows no word, or is of another size than the embeddings.
    """
    vocabulary, special = tokenizer.get_vocab(), special_ids(tokenizer)
    ordinary = [token for token, index in vocabulary.items() if index not in special]
    if len(ordinary) < 2:  # T5 alone is left with one, its mark of a space
        raise ModelError(
            f"Model {name!r} has no tokenizer: expected its files (tokenizer.json, vocab.txt, ...) beside"
            f" the weights, got an empty one ({len(vocabulary)} special tokens). {_REMEDY}"
        )
    if _knows_nothing(tokenizer, ordinary):
        raise ModelError(
            f"Tokenizer of model {name!r} knows no word: expected tokens for its own vocabulary, got"
            f" {tokenizer.unk_token!r} for each. {_REMEDY}"
        )
    rows = _rows(model)
    if rows is None:
        return []
    largest, size = max(vocabulary.values()), len(vocabulary)
    if largest >= rows:
        raise ModelError(
            f"Tokenizer of model {name!r} does not fit its embeddings: expected ids below {rows}, got"
            f" {largest}. {_REMEDY}"
        )
    if size >= _LEAST_SHARE * rows:
        return []
    if rows >= _SMALL:
        raise ModelError(
            f"Tokenizer of model {name!r} is another model's: expected about {rows} tokens, as many as its"
            f" embeddings have rows, got {size}. {_REMEDY} If it is right, save the model after"
            " resize_token_embeddings(len(tokenizer))."
        )
    return [f"its tokenizer has {size} tokens, its embeddings have {rows} rows"]


def check_reading(
    name: str, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, is_pair: bool = False
) -> None:
    """Raise unless a model can read a short text as its tokenizer writes it. No random state moves.

    A tokenizer may give token types that the model has no embeddings for, or leave out BART's end token.

    Args:
        name: The model, as the user calls it.
        tokenizer: Its tokenizer.
        model: The model, in evaluation mode.
        is_pair: True to try a pair of texts.

    Raises:
        ModelError: If the model cannot.
    """
    problem = "Cannot use the tokenizer of model"
    with border(name, "one that writes tokens", _REMEDY, problem=problem, error=ModelError):
        written = tokenizer(*(["a"], ["b"])[: 1 + is_pair], return_tensors="pt")
    try:
        batch = written.to(model.device)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model(**batch)
    except RuntimeError:  # the text is too short (CANINE), or the code of the model needs a GPU
        return
    except (IndexError, KeyError, TypeError, ValueError) as error:
        what = "a pair of texts" if is_pair else "a text"
        reason = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
        raise ModelError(
            f"Model {name!r} cannot read its tokenizer's output for {what}: expected one that fits, got:"
            f" {reason}. {_REMEDY}"
        ) from None


def _knows_nothing(tokenizer: PreTrainedTokenizerBase, ordinary: list[str]) -> bool:
    """Return True if no word comes without the unknown token, those of its own vocabulary included."""
    if tokenizer.unk_token_id is None:
        return False
    words = [token for token in ordinary if any(map(str.isalpha, token))]
    tried = words[:: max(1, len(words) // _NUM_TRIED)]
    own = [tokenizer.convert_tokens_to_string([token]) for token in tried]
    texts = [text for text in ("the", "of", "good", *own) if text.strip() and text.isprintable()]
    rows: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return all(tokenizer.unk_token_id in row for row in rows)


def _rows(model: PreTrainedModel) -> int | None:
    """Return the number of tokens that a model has embeddings for; None if it embeds in another way."""
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        return None
    return embedding.num_embeddings if isinstance(embedding, nn.Embedding) else None
