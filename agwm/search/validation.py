"""Results of a validation, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from torch import Tensor

from agwm.errors import ConfigError

__all__ = ["as_numbers"]


def as_numbers(outcome: Mapping[str, Any]) -> dict[str, float]:
    """Return the results with numbers of numpy, and arrays and tensors of one number, as Python's own.

    Args:
        outcome: Results by name. Not-a-number and infinities are numbers.

    Raises:
        ConfigError: If a value is no number; names its key.

    Example:
        >>> as_numbers({"accuracy": np.float32(0.5), "right": np.int64(3), "is_best": np.bool_(True)})
        {'accuracy': 0.5, 'right': 3, 'is_best': True}
    """
    return {key: _number(key, value) for key, value in outcome.items()}


def _number(key: str, value: Any) -> float:
    found = value
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        found = value.item()
    elif isinstance(value, np.ndarray | np.generic) and value.size == 1:
        found = value.item()
    if isinstance(found, bool):
        return found
    if isinstance(found, Integral):
        return int(found)
    if isinstance(found, Real):
        return float(found)
    got = type(value).__name__ + (f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else "")
    raise ConfigError(
        f"Result {key!r} of validate is unusable: expected a number, got {got}. Return one number by that"
        " name."
    )
