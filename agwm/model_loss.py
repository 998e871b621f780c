"""The loss that a model computes of a batch; a batch that does not fit the model is one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from agwm.errors import DataError, reason

__all__ = ["model_loss"]


def model_loss(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """Return ``model(**batch).loss``: what a Hugging Face model computes from ``labels``.

    Args:
        model: The model.
        batch: Its arguments, on its device.

    Raises:
        DataError: If an id, a position or a label is beyond the model's tables. (CUDA tells that later, by
            an assertion of its own.)
    """
    try:
        return model(**batch).loss
    except IndexError as error:
        raise DataError(
            "Batch does not fit the model: expected token ids in its vocabulary, no more tokens than it has"
            f" positions, and labels below num_labels, got {reason(error)}. Encode the texts with the"
            " model's own tokenizer, and build the model with as many labels as there are."
        ) from error
