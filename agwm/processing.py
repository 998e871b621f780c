"""The tokenizer of a model, ``processing_class`` as in Hugging Face's ``Trainer``: checked and saved."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from agwm.errors import AgwmWarning, ConfigError

__all__ = [
    "check_processing_class", "fit_padding", "reads_texts", "special_ids", "tell_no_tokenizer",
    "tokenizer_of_base", "write_processing_class",
]  # fmt: skip

_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")


def check_processing_class(processing_class: Any, model: nn.Module) -> None:
    """Raise unless a tokenizer can be saved and knows no token that the model lacks; None is fine.

    Raises:
        ConfigError: If not.
    """
    if processing_class is None:
        return
    if not callable(getattr(processing_class, "save_pretrained", None)):
        raise ConfigError(
            "processing_class is of the wrong type: expected a tokenizer of transformers, got"
            f" {type(processing_class).__name__}. Pass the tokenizer that encoded the texts."
        )
    if not isinstance(processing_class, PreTrainedTokenizerBase) or not isinstance(model, PreTrainedModel):
        return
    rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    if rows is not None and len(processing_class) > rows:
        raise ConfigError(
            f"processing_class does not fit {type(model).__name__}: expected at most {rows} tokens, as the"
            f" model has embeddings, got {len(processing_class)}. Pass the model's own tokenizer."
        )


def fit_padding(model: nn.Module, processing_class: Any) -> None:
    """Give the model's config the tokenizer's padding token, by which decoders find the end of a text."""
    padding = getattr(processing_class, "pad_token_id", None)
    if padding is not None and isinstance(model, PreTrainedModel):
        model.config.pad_token_id = padding


def special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the ids of the special tokens, also of those without a role (``<extra_id_0>``)."""
    added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


def write_processing_class(
    processing_class: Any, folder: Path, max_length: int | None = None, as_text: bool = False
) -> None:
    """Save a tokenizer as it was used: its padding, and its cut length where that is known.

    Args:
        processing_class: The tokenizer. It is not changed.
        folder: An existing folder.
        max_length: Number of tokens at which texts were cut; None: as the tokenizer says.
        as_text: Special tokens in texts (``</s>``) were read as text, as :func:`agwm.data.encode` does:
            whoever loads the tokenizer reads them so too. A Unigram model finds them all the same.
    """
    if isinstance(processing_class, PreTrainedTokenizerBase):
        processing_class = copy.deepcopy(processing_class)
        # transformers writes those of its attributes that were given when it was made
        for side in ("padding_side", "truncation_side"):
            processing_class.init_kwargs[side] = getattr(processing_class, side)
        if as_text:
            processing_class.split_special_tokens = True
            processing_class.init_kwargs["split_special_tokens"] = True
        for path in ("name_or_path", "tokenizer_file", "vocab_file"):
            processing_class.init_kwargs.pop(path, None)
        if max_length is not None:
            processing_class.model_max_length = max_length
    processing_class.save_pretrained(folder)


def tokenizer_of_base(model: nn.Module) -> Any:
    """Return the tokenizer that lies on this disk where the model was loaded from; None without one."""
    name = str(getattr(getattr(model, "config", None), "_name_or_path", "") or "")
    if not name or not reads_texts(model):
        return None
    if not any(_is_here(name, file) for file in _VOCABULARIES):
        return None  # transformers makes an empty tokenizer of a folder without one
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=True)
        check_processing_class(tokenizer, model)
    except Exception:  # whatever is wrong with it, it is not saved
        return None
    return tokenizer


def reads_texts(model: nn.Module) -> bool:
    """Return True if the model is one of Hugging Face's that takes tokens."""
    return isinstance(model, PreTrainedModel) and model.main_input_name == "input_ids"


def tell_no_tokenizer(model: nn.Module, directory: str | Path, lies_there: str) -> None:
    """Warn that nobody said which tokenizer a saved model has."""
    warnings.warn(
        f"processing_class is not given: expected the tokenizer that encoded the texts of this"
        f" {type(model).__name__}, got None; in {str(directory)[:200]!r} lies {lies_there}. Call"
        " save_pretrained(folder, processing_class=tokenizer).",
        AgwmWarning,
        stacklevel=3,
    )


def _is_here(name: str, file: str) -> bool:
    if Path(name).is_dir():
        return (Path(name) / file).is_file()
    try:
        return isinstance(try_to_load_from_cache(name, file), str)
    except ValueError:  # no valid name on the hub
        return False
