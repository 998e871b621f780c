"""The errors and the one warning that agwm raises: one clear line each.

A message says `what is wrong: expected X, got Y. what to do.`; The first part may name Y already.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AgwmError",
    "AgwmWarning",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "HypergradientError",
    "MethodError",
    "MissingExtraError",
    "ModelError",
    "OuterDivergenceError",
    "SelectionError",
    "ShapeError",
    "SplitError",
    "close_names",
]


class AgwmError(Exception):
    """Root of every error that agwm raises on bad input."""


class ConfigError(AgwmError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(AgwmError, ValueError):
    """A data set, file or row cannot be used as given."""


class ModelError(AgwmError, ValueError):
    """A model cannot be loaded, or cannot be mixed."""


class SelectionError(AgwmError, ValueError):
    """A pattern or predicate selects no weight that can be mixed."""


class ShapeError(AgwmError, ValueError):
    """Tensors that belong together have different shapes."""


class SplitError(AgwmError, ValueError):
    """A split of the training set is impossible or not disjoint."""


class HypergradientError(AgwmError, RuntimeError):
    """The hypergradient is not finite, or cannot be formed as asked."""


class DivergenceError(AgwmError, RuntimeError):
    """A loss, gradient, weight or output of a model is not finite: training diverged."""


class OuterDivergenceError(DivergenceError, HypergradientError):
    """The outer loss is not finite, and so neither is the hypergradient."""


class MethodError(AgwmError, ValueError):
    """A method of finetuning does not fit the model or the task."""


class MissingExtraError(AgwmError, ImportError):
    """An optional dependency is not installed."""


class AgwmWarning(UserWarning):
    """The only warning category: issued when the user should act."""


def close_names(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Return ``" Did you mean 'a' or 'b'?"`` for known names close to ``name``.

    Args:
        name: The name that was not found.
        known: All valid names.
        limit: Largest number of suggestions.

    Returns:
        The suggestion with a leading space, or an empty string when nothing is close.
    """
    close = difflib.get_close_matches(name, list(known), n=limit, cutoff=0.6)
    if not close:
        return ""
    return " Did you mean " + " or ".join(f"{match!r}" for match in close) + "?"
