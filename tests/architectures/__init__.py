"""Tiny classification models of many architectures, built from configurations alone.

The reparametrization hook promises to work for any Hugging Face model. ``ARCHITECTURES`` turns that
promise into a parametrized test: one entry for each architecture of transformers'
sequence-classification mapping that can be built here, with a labelled batch to feed it.
``architecture_sizes`` and ``architecture_table`` hold the data, this module the builder.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.architectures.rows import ROWS, UNSUPPORTED, Row
from tests.architectures.sizes import SMALL_SIZES

__all__ = ["ARCHITECTURES", "UNSUPPORTED", "Architecture"]

VOCAB_SIZE = SMALL_SIZES["vocab_size"]
BOS, PAD, EOS = (
    SMALL_SIZES["bos_token_id"],
    SMALL_SIZES["pad_token_id"],
    SMALL_SIZES["eos_token_id"],
)
NUM_LABELS = 3
LENGTHS = (12, 9, 7)  # tokens of each sequence; the rest of its row is padding


@dataclass(frozen=True)
class Architecture:
    """One architecture of the sequence-classification mapping.

    Args:
        name: Its key in the mapping, as ``"bert"``.
        build: Makes the model: two layers, hidden size 16, three labels, in training mode, float32,
            the same weights at every call. The caller's random state is left as it was.
        batch: Makes a labelled batch of three sequences, two of them padded.
        checkpointing: Whether the model can train under gradient checkpointing.
        float64: Whether ``model.double()`` can run.
        seeded: Whether ``torch.manual_seed`` fixes a forward pass in training mode.
        note: What is unusual about the architecture, for whoever reads a failure.
    """

    name: str
    build: Callable[[], PreTrainedModel]
    batch: Callable[[], dict[str, Tensor]]
    checkpointing: bool = True
    float64: bool = True
    seeded: bool = True
    note: str = ""


def _settings(model_type: str, own: dict[str, Any]) -> dict[str, Any]:
    accepted = inspect.signature(CONFIG_MAPPING[model_type]).parameters
    settings = {key: value for key, value in SMALL_SIZES.items() if key in accepted}
    for key, value in own.items():
        is_part = isinstance(value, dict) and "model_type" in value
        settings[key] = _settings(value["model_type"], value) if is_part else value
    return settings


def build_model(name: str) -> PreTrainedModel:
    """Build the tiny classifier of an architecture.

    Args:
        name: A key of ``ROWS``.

    Returns:
        The model in training mode. Its weights are the same at every call.

    Raises:
        KeyError: If ``name`` is not in the table.
    """
    # the other expert implementations know no float64
    common = {"num_labels": NUM_LABELS, "experts_implementation": "eager"}
    config = AutoConfig.for_model(name, **(common | _settings(name, ROWS[name].config)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config)
    return model.train()


def text_batch() -> dict[str, Tensor]:
    """Build a labelled batch of three token sequences, padded on the right.

    Every sequence begins with the BOS token and ends with one EOS token, as BART's head requires.
    The labels differ, so that no bias alone can fit them.

    Returns:
        ``input_ids`` and ``attention_mask`` of shape (3, 12), ``labels`` of shape (3,), all int64.
    """
    generator = torch.Generator().manual_seed(0)
    first = max(BOS, PAD, EOS) + 1
    shape = (len(LENGTHS), max(LENGTHS))
    input_ids = torch.randint(first, VOCAB_SIZE, shape, generator=generator)
    lengths = torch.tensor(LENGTHS)
    mask = torch.arange(max(LENGTHS)) < lengths[:, None]
    input_ids[:, 0] = BOS
    input_ids[torch.arange(len(LENGTHS)), lengths - 1] = EOS
    return {
        "input_ids": input_ids.masked_fill(~mask, PAD),
        "attention_mask": mask.long(),
        "labels": torch.tensor([0, 2, 1]),
    }


def layout_batch() -> dict[str, Tensor]:
    """Build ``text_batch`` with a bounding box ``(x0, y0, x1, y1)`` for every token."""
    batch = text_batch()
    rows, length = batch["input_ids"].shape
    corner = torch.arange(length).expand(rows, length)
    batch["bbox"] = torch.stack([corner, corner + 1, corner + 3, corner + 2], dim=-1)
    return batch


def table_batch() -> dict[str, Tensor]:
    """Build ``text_batch`` with TAPAS' seven token types, all zero."""
    batch = text_batch()
    batch["token_type_ids"] = torch.zeros(*batch["input_ids"].shape, 7, dtype=torch.long)
    return batch


BATCHES: dict[str, Callable[[], dict[str, Tensor]]] = {
    "text": text_batch,
    "layout": layout_batch,
    "table": table_batch,
}


def _architecture(name: str, row: Row) -> Architecture:
    return Architecture(
        name=name,
        build=partial(build_model, name),
        batch=BATCHES[row.batch],
        checkpointing=row.checkpointing,
        float64=row.float64,
        seeded=row.seeded,
        note=row.note,
    )


ARCHITECTURES: dict[str, Architecture] = {name: _architecture(name, row) for name, row in ROWS.items()}
