"""One draw of an experiment: a pretrained model, inner and outer examples, and what scores a model."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from agwm.training.lengths import GroupedByLength

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Ground:
    """One draw of an experiment.

    Attributes:
        make_model: Returns the pretrained model with its heads: the same weights at every call.
        inner: Examples that W learns from.
        outer: Examples that alpha learns from.
        collate: Makes a batch of examples.
        score: Takes a model and ``"dev"`` or ``"test"``; returns the scores by name, in percent.
        include: Weights to mix, as ``agwm.inject`` takes them; None: the linear maps of the backbone.
        new: How the names of new parameters begin, which have no pretrained value.
    """

    make_model: Callable[[], nn.Module]
    inner: Rows
    outer: Rows
    collate: Callable[[Rows], dict[str, Tensor]]
    score: Callable[[nn.Module, str], dict[str, float]]
    include: str | None = None
    new: str = "classifier"


def read_rows(folder: Path, part: str) -> list[tuple[str, str]]:
    """Read texts and labels of ``<folder>/<part>.tsv``: a header, then a text and a label a line."""
    with (folder / f"{part}.tsv").open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(lines)
        return [(text, label) for text, label in lines]


def draw(rows: Sequence[Any], counts: Sequence[int], seed: int) -> list[list[Any]]:
    """Draw disjoint parts of rows, of so many each."""
    if sum(counts) > len(rows):
        raise SystemExit(f"Too few rows: expected at least {sum(counts)}, got {len(rows)}.")
    order = np.random.default_rng(seed).permutation(len(rows))
    ends = np.cumsum(counts)
    return [[rows[i] for i in order[end - count : end]] for count, end in zip(counts, ends, strict=True)]


def encode(
    rows: Sequence[tuple[str, str]],
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    **columns: int,
) -> Rows:
    """Tokenize texts, and number their labels; ``columns`` are added to each row.

    The rows are batched with others of like length, which halves the time of a step.
    """
    ids = tokenizer([text for text, _ in rows], truncation=True, max_length=64)["input_ids"]
    return GroupedByLength(
        {"input_ids": row, "labels": names.index(label), **columns}
        for row, (_, label) in zip(ids, rows, strict=True)
    )


def padded(rows: Rows, pad: int) -> dict[str, Tensor]:
    """Pad encoded rows to the longest, and stack their other columns."""
    ids = [torch.tensor(row["input_ids"]) for row in rows]
    batch = {
        "input_ids": nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad),
        "attention_mask": nn.utils.rnn.pad_sequence(
            [torch.ones_like(row) for row in ids], batch_first=True
        ),
    }
    others = {name: torch.tensor([row[name] for row in rows]) for name in rows[0] if name != "input_ids"}
    return batch | others


@torch.no_grad()
def accuracy(
    model: nn.Module, rows: Rows, collate: Callable[[Rows], Mapping[str, Tensor]], size: int = 64
) -> float:
    """Return the accuracy of a model in percent; its output has ``logits``."""
    device, right = next(model.parameters()).device, 0
    model.eval()
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))  # little padding
    for start in range(0, len(ordered), size):
        batch = {k: v.to(device) for k, v in collate(ordered[start : start + size]).items()}
        right += int((model(**batch).logits.argmax(dim=-1) == batch["labels"]).sum())
    return 100 * right / len(rows)
