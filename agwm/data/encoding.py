"""Encode texts as token ids, and pad batches to their longest example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from agwm.data.tasks import Task
from agwm.errors import DataError

__all__ = ["DynamicPadding", "encode"]

_CHUNK = 1000


def encode(
    dataset: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    max_length: int = 128,
) -> datasets.Dataset:
    """Tokenize a data set, without padding and in memory.

    The tokenizer cuts texts longer than ``max_length`` tokens. In a pair it cuts the longer one first.

    Args:
        dataset: Examples with ``task.text_columns`` and ``label``.
        tokenizer: Tokenizer of the model.
        task: The task, with its text columns and its kind of label.
        max_length: Largest number of tokens, special tokens included.

    Returns:
        The tokenizer's columns (``input_ids``, ``attention_mask``, ...) and ``labels``: int64
        classes, or float32 for regression.

    Raises:
        DataError: If a column is missing, or ``max_length`` leaves no room for text or is more
            than the model reads.
    """
    for name in (*task.text_columns, "label"):
        if name not in dataset.column_names:
            raise DataError(
                f"Cannot encode for task {task.name!r}: expected a column {name!r}, got "
                f"{', '.join(dataset.column_names)}."
            )
    special = tokenizer.num_special_tokens_to_add(pair=task.is_pair)
    room = special + len(task.text_columns)
    if not room <= max_length <= tokenizer.model_max_length:
        raise DataError(
            f"max_length does not fit the tokenizer: expected {room} to "
            f"{tokenizer.model_max_length}, got {max_length}."
        )
    columns: dict[str, list] = {}
    for start in range(0, len(dataset), _CHUNK):
        rows = dataset[start : start + _CHUNK]
        texts = [rows[name] for name in task.text_columns]
        encoded = tokenizer(*texts, truncation=True, max_length=max_length)
        for name, values in encoded.items():
            columns.setdefault(name, []).extend(values)
        columns.setdefault("labels", []).extend(rows["label"])
    labels = datasets.Value("float32" if task.is_regression else "int64")
    return datasets.Dataset.from_dict(columns).cast_column("labels", labels)


class DynamicPadding:
    """Collate examples into a batch padded to the longest of them.

    The batch is a plain ``dict`` of tensors, because some code recognizes a mapping by
    ``isinstance(batch, dict)``. The object can be pickled, so it works with worker processes.

    Args:
        tokenizer: Tokenizer that encoded the examples; gives padding ids and the side.

    Raises:
        DataError: If the tokenizer has no padding token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.pad_token_id is None:
            raise DataError(
                f"{type(tokenizer).__name__} has no padding token: expected pad_token to be set. "
                "Set tokenizer.pad_token = tokenizer.eos_token and model.config.pad_token_id = "
                "tokenizer.pad_token_id."
            )
        self.left = tokenizer.padding_side == "left"
        self.fill = {
            "input_ids": int(tokenizer.pad_token_id),
            "attention_mask": 0,
            "token_type_ids": int(tokenizer.pad_token_type_id),
        }

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pad and stack examples.

        Args:
            examples: Rows of an encoded data set.

        Returns:
            ``labels`` of shape (batch,), every other entry of shape (batch, longest).

        Raises:
            DataError: If there are no examples, or an entry has no known padding value.
        """
        if not examples:
            raise DataError("Cannot collate an empty batch: expected at least one example.")
        longest = max(len(example["input_ids"]) for example in examples)
        batch: dict[str, Tensor] = {}
        for name in examples[0]:
            values = [example[name] for example in examples]
            if name == "labels":
                batch[name] = torch.tensor([v.item() if isinstance(v, Tensor) else v for v in values])
                continue
            if name not in self.fill:
                raise DataError(
                    f"No padding value for {name!r}: expected only {', '.join(self.fill)} and "
                    "labels. Remove the column from the encoded data."
                )
            batch[name] = torch.tensor([self._pad(list(v), longest, self.fill[name]) for v in values])
        return batch

    def _pad(self, values: list[int], length: int, fill: int) -> list[int]:
        padding = [fill] * (length - len(values))
        return padding + values if self.left else values + padding
