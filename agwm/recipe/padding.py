"""Batches padded by a tokenizer, as Hugging Face's ``Trainer`` makes them of a ``processing_class``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from agwm.errors import ConfigError, DataError
from agwm.processing import check_processing_class
from agwm.training.loop import Collate

__all__ = ["PaddedBatches", "batching"]

_LABELS = ("label", "label_ids", "labels")


class PaddedBatches:
    """Collate encoded examples into a batch that is padded to the longest of them.

    Columns that the model does not take, such as the text, are left out. Can be pickled.

    Args:
        processing_class: The tokenizer that encoded the examples; it gives padding and its side.
        model: The model.

    Raises:
        ConfigError: If it is no tokenizer, or has no padding token.
    """

    def __init__(self, processing_class: Any, model: nn.Module) -> None:
        if not isinstance(processing_class, PreTrainedTokenizerBase):
            raise ConfigError(
                "Nothing makes batches: expected collate, or a tokenizer as processing_class to pad them"
                f" with, got {type(processing_class).__name__}. Pass processing_class=tokenizer."
            )
        if processing_class.pad_token_id is None:
            raise ConfigError(
                f"{type(processing_class).__name__} has no padding token: expected pad_token to be set, got"
                " None. Set tokenizer.pad_token = tokenizer.eos_token."
            )
        self.pad = DataCollatorWithPadding(processing_class)
        self.names = {*inspect.signature(model.forward).parameters, *_LABELS}

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pad and stack examples.

        Raises:
            DataError: If they are not encoded, or a column cannot be padded.
        """
        rows = [{name: row[name] for name in row if name in self.names} for row in examples]
        if not all("input_ids" in row for row in rows):
            raise DataError(
                f"Examples are not encoded: expected input_ids in each, got {sorted(examples[0])[:5]}."
                " Encode the texts first: rows.map(lambda row: tokenizer(row['text'], truncation=True))."
            )
        try:
            return dict(self.pad(rows))
        except ValueError:  # the message of transformers guesses, in several lines
            raise DataError(
                "Examples cannot be padded: expected columns of numbers, single or as many as input_ids,"
                f" got {sorted(rows[0])[:8]}. Leave out those of other kinds, or pass collate."
            ) from None


def batching(collate: Collate | None, processing_class: Any, model: nn.Module) -> tuple[Collate, Any]:
    """Return the function that makes the batches, and the tokenizer of the texts if one is known.

    Args:
        collate: The user's function; None: the tokenizer pads.
        processing_class: The tokenizer; None: that of ``collate``, as transformers' collators have one.
        model: The model.

    Raises:
        ConfigError: If there is neither, or the tokenizer does not fit the model.
    """
    if processing_class is None:
        own = getattr(collate, "tokenizer", None)
        processing_class = own if isinstance(own, PreTrainedTokenizerBase) else None
    check_processing_class(processing_class, model)
    return PaddedBatches(processing_class, model) if collate is None else collate, processing_class
