"""Encode texts as token ids, and pad batches to their longest example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import datasets
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from agwm.data.plain_text import Encoder
from agwm.data.tasks import Task
from agwm.errors import DataError

__all__ = ["DynamicPadding", "check_known", "count_cut", "count_unknown", "encode", "token_lengths"]

_CHUNK = 1000


def encode(
    dataset: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    max_length: int = 128,
    limit: int | None = None,
) -> datasets.Dataset:
    """Tokenize a data set, without padding and in memory.

    The tokenizer cuts texts longer than ``max_length`` tokens. In a pair it cuts the longer one first.
    Special tokens in a text (``</s>``, ``[SEP]``) are read as text.

    Args:
        dataset: Examples with ``task.text_columns`` and ``label``.
        tokenizer: Tokenizer of the model.
        task: The task, with its text columns and its kind of label.
        max_length: Largest number of tokens, special tokens included.
        limit: Number of tokens that the model reads (``agwm.models.positions.max_tokens``); None: any.

    Returns:
        The tokenizer's columns (``input_ids``, ``attention_mask``, ...) and ``labels``: int64
        classes, or float32 for regression; with several labels an example lists of float32 0 and 1.

    Raises:
        DataError: If a column is missing, ``max_length`` leaves no room for text or is more than the
            tokenizer's, an example has no token, or one is longer than the model reads.
    """
    _check_columns(dataset, task, "label")
    special = tokenizer.num_special_tokens_to_add(pair=task.is_pair)
    room = special + len(task.text_columns)
    if not room <= max_length <= tokenizer.model_max_length:
        raise DataError(
            f"max_length does not fit the tokenizer: expected {room} to "
            f"{tokenizer.model_max_length}, got {max_length}. Set max_length to one of these."
        )
    columns: dict[str, list] = {}
    for encoded in _encoded(dataset, Encoder(tokenizer, max_length), task):
        for name, values in encoded.items():
            columns.setdefault(name, []).extend(values)
    for index, ids in enumerate(columns.get("input_ids", [])):
        if not ids:
            text = dataset[index][task.text_columns[0]]
            raise DataError(
                f"Example {index + 1} has no token: expected a text, got {text[:200]!r}. Remove it, or give"
                " it a text."
            )
        if limit is not None and len(ids) > limit:
            raise DataError(
                f"Example {index + 1} is too long for the model: expected at most {limit} tokens, got"
                f" {len(ids)}. Set max_length to {limit} or less."
            )
    columns["labels"] = list(dataset["label"])
    labels: Any = datasets.Value(
        "int64" if task.problem_type == "single_label_classification" else "float32"
    )
    labels = datasets.List(labels) if task.multi_label else labels
    return datasets.Dataset.from_dict(columns).cast_column("labels", labels)


def token_lengths(dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, task: Task) -> list[int]:
    """Return the number of tokens of each example, special tokens included, as if none were cut.

    Args:
        dataset: Examples with ``task.text_columns``.
        tokenizer: Tokenizer of the model.
        task: The task, with its text columns.

    Raises:
        DataError: If a column is missing, or an example cannot be read.
    """
    _check_columns(dataset, task)
    batches = _encoded(dataset, Encoder(tokenizer, None), task)
    return [len(ids) for encoded in batches for ids in encoded["input_ids"]]


def count_cut(
    dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, task: Task, max_length: int
) -> int:
    """Return the number of examples of more than ``max_length`` tokens.

    A token has a byte at least, so that most examples need not be encoded.

    Args:
        dataset: Examples with ``task.text_columns``.
        tokenizer: Tokenizer of the model.
        task: The task, with its text columns.
        max_length: Largest number of tokens, special tokens included.

    Raises:
        DataError: If a column is missing, or an example cannot be read.
    """
    special = tokenizer.num_special_tokens_to_add(task.is_pair)
    rows = zip(*(dataset[name] for name in task.text_columns), strict=True)
    long = [
        index
        for index, texts in enumerate(rows)
        if sum(len(text.encode()) + 1 for text in texts) + special > max_length
    ]
    return sum(length > max_length for length in token_lengths(dataset.select(long), tokenizer, task))


def count_unknown(encoded: datasets.Dataset, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the number of examples of which each token is special or the unknown token.

    Args:
        encoded: Examples as :func:`encode` gives them.
        tokenizer: Tokenizer that encoded them.
    """
    unknown, special = tokenizer.unk_token_id, set(tokenizer.all_special_ids)
    return sum(unknown in ids and special.issuperset(ids) for ids in encoded["input_ids"])


def check_known(encoded: datasets.Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise if the tokenizer knows no token of any example: a model can learn nothing from them.

    Args:
        encoded: Examples as :func:`encode` gives them.
        tokenizer: Tokenizer that encoded them.

    Raises:
        DataError: If so.
    """
    if len(encoded) and count_unknown(encoded, tokenizer) == len(encoded):
        raise DataError(
            f"The tokenizer knows no word of {len(encoded)} examples: expected words of its vocabulary, got"
            f" {tokenizer.unk_token!r} for each. Use a model of the texts' language."
        )


def _check_columns(dataset: datasets.Dataset, task: Task, *others: str) -> None:
    """Raise unless a data set has the columns of a task.

    Raises:
        DataError: If one is missing.
    """
    for name in (*task.text_columns, *others):
        if name not in dataset.column_names:
            raise DataError(
                f"Cannot encode for task {task.name!r}: expected a column {name!r}, got "
                f"{', '.join(dataset.column_names)}."
            )


def _encoded(
    dataset: datasets.Dataset, encoder: Encoder, task: Task
) -> Iterator[dict[str, list[list[int]]]]:
    """Encode a data set piece by piece.

    Raises:
        DataError: If a text is no text.
    """
    for start in range(0, len(dataset), _CHUNK):
        rows = dataset[start : start + _CHUNK]
        texts = [rows[name] for name in task.text_columns]
        for name, part in zip(task.text_columns, texts, strict=True):
            for place, text in enumerate(part):
                if not isinstance(text, str):
                    raise DataError(
                        f"Example {start + place + 1} has no text in {name!r}: expected a text, got"
                        f" {repr(text)[:200]}. Correct it, or remove the example."
                    )
        yield encoder(texts, start)


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
            ``labels`` of shape (batch,), or (batch, labels) of several an example; every other entry of
            shape (batch, longest).

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
                batch[name] = torch.tensor([v.tolist() if isinstance(v, Tensor) else v for v in values])
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
