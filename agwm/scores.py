"""Scores that a user's function returns, as plain Python numbers that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from agwm.errors import ConfigError

__all__ = ["finite_or_null", "plain_scores"]


def plain_scores(outcome: object, source: str) -> dict[str, float]:
    """Return scores by name as plain Python numbers; not-a-number and infinity are numbers too.

    Args:
        outcome: A mapping from names to numbers: of Python, of numpy, or arrays and tensors of one number.
        source: The name that the user knows the function by that returned it.

    Returns:
        A new dict, in the same order; an integer stays one, and so does a truth value.

    Raises:
        ConfigError: If it is no mapping, a name is no text, or a value is no number.

    Example:
        >>> import numpy as np
        >>> plain_scores({"f1": np.float32(0.5), "right": np.int64(3)}, "evaluate")
        {'f1': 0.5, 'right': 3}
        >>> plain_scores({"curve": np.zeros(4)}, "evaluate")
        Traceback (most recent call last):
        ...
        agwm.errors.ConfigError: Score 'curve' of evaluate is no number: expected one number, got ...
    """
    if not isinstance(outcome, Mapping):
        raise ConfigError(
            f"Result of {source} is unusable: expected a dict of numbers by name, got"
            f" {type(outcome).__name__}. Return a dict."
        )
    for name in outcome:
        if not isinstance(name, str):
            raise ConfigError(
                f"Name of a score of {source} is no text: expected a str, got {name!r}. Return a dict of"
                " numbers by name."
            )
    return {name: _number(name, value, source) for name, value in outcome.items()}


def _number(name: str, value: Any, source: str) -> float:
    plain = value
    if hasattr(value, "item") and math.prod(getattr(value, "shape", ())) == 1:
        plain = value.item()
    if isinstance(plain, bool):
        return plain
    if isinstance(plain, Integral):
        return int(plain)
    if isinstance(plain, Real):
        return float(plain)
    shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
    raise ConfigError(
        f"Score {name!r} of {source} is no number: expected one number, got {type(value).__name__}{shape}."
        " Return float() of it, or leave it out."
    )


def finite_or_null(value: Any) -> Any:
    """Return nested mappings and lists with None for the numbers that JSON lacks."""
    if isinstance(value, Mapping):
        return {key: finite_or_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
