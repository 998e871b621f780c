"""The errors and the one warning that agwm raises: one clear line each.

A message says `what is wrong: expected X, got Y. what to do.`; The first part may name Y already.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

__all__ = [
    "AgwmError",
    "AgwmWarning",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "HypergradientError",
    "MethodError",
    "MissingExtraError",
    "ModelError",
    "OuterDivergenceError",
    "ProcessError",
    "SelectionError",
    "ShapeError",
    "SplitError",
    "border",
    "close_names",
    "is_failure",
    "one_line",
    "reason",
    "shown",
    "with_advice",
]

LIMIT = 200  # characters of input that a message quotes


class AgwmError(Exception):
    """Root of every error that agwm raises on bad input."""


class ConfigError(AgwmError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(AgwmError, ValueError):
    """A data set, file or row cannot be used as given."""


class CheckpointError(DataError):
    """A checkpoint cannot be written, or holds another state than the training that goes on from it."""


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


class ProcessError(AgwmError, RuntimeError):
    """Several processes do not work together: not joined, one lost, or with weights that differ."""


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
    # names beyond the limit are close to nothing, and would take minutes to compare
    short = [one for one in known if len(one) <= LIMIT]
    close = difflib.get_close_matches(name, short, n=limit, cutoff=0.6) if len(name) <= LIMIT else []
    if not close:
        return ""
    return " Did you mean " + " or ".join(map(shown, close)) + "?"


def shown(value: object, limit: int = LIMIT) -> str:
    r"""Quote a value of the user in a message: on one line, of bounded length, control characters escaped.

    Args:
        value: Anything. Of a path the middle is left out where it is too long, of others the end.
        limit: Largest number of characters.

    Returns:
        Its ``repr``; where that cannot be had, the name of its type.

    Example:
        >>> shown("a" * 500, limit=10)
        "'aaaaaa..."
        >>> shown("red\x1b[31m")
        "'red\\x1b[31m'"
    """
    is_path = isinstance(value, os.PathLike)
    try:
        value = str(value) if is_path else value
        if isinstance(value, str) and not is_path:
            value = value[: limit + 1]  # before it is escaped: it may be as long as a file
        text = " ".join(repr(value).split())
    except Exception:  # nested too deeply, or an integer of more digits than Python writes
        return f"<{type(value).__name__}>"
    return _cut(text, limit, is_path)


def one_line(text: str, limit: int = 2 * LIMIT) -> str:
    """Return a text on one line, of bounded length, with control characters escaped."""
    text = " ".join(text[: 10 * limit].split())
    return _cut("".join(c if c.isprintable() else repr(c)[1:-1] for c in text), limit, False)


def with_advice(message: str, words: Mapping[str, str]) -> str:
    """Return a message whose last sentence has other words: for whom it advises, flags are no arguments.

    Example:
        >>> with_advice("All 1: expected two. Pass regression=True.", {"regression=True": "--regression"})
        'All 1: expected two. Pass --regression.'
    """
    text, start, advice = message.rpartition(". ")
    for old, new in words.items():
        advice = advice.replace(old, new)
    return f"{text}{start}{advice}"


def reason(error: BaseException) -> str:
    """Say in one line what an error of Python or of a library says.

    Example:
        >>> reason(KeyError("x")), reason(OSError(2, "No such file or directory", "a.csv"))
        ("KeyError: 'x'", 'No such file or directory')
    """
    if isinstance(error, RecursionError):
        return "values nested too deeply"
    if isinstance(error, MemoryError):
        return "more than the memory holds"
    name, text = type(error).__name__, getattr(error, "strerror", None)
    said = one_line(str(text or error), LIMIT).rstrip(".")
    return said if text else f"{name}: {said}" if said else name


@contextmanager
def border(
    path: object,
    expected: str,
    remedy: str = "Check the path, or write it again.",
    *,
    problem: str = "Cannot read",
    error: type[AgwmError] = DataError,
) -> Iterator[None]:
    """Context manager: turn any exception in the body into one line that names the file.

    Use it wherever a file, or a text of the user, becomes a value: libraries raise errors of many classes.

    Args:
        path: The file, or the value.
        expected: Noun phrase of the content that is expected.
        remedy: A sentence that says what to do.
        problem: Start of the message.
        error: The class of the error.

    Raises:
        AgwmError: If the body raises an ``Exception``; of the class ``error``, unless it is one already.
    """
    try:
        yield
    except AgwmError:
        raise
    except BaseException as caught:
        if not is_failure(caught):
            raise
        raise error(
            f"{problem} {shown(path)}: expected {expected}, got {reason(caught)}. {remedy}"
        ) from None


def is_failure(error: BaseException) -> bool:
    """Return whether an error is a failure of code: an exception, or a panic of a library in Rust."""
    return isinstance(error, Exception) or type(error).__module__ == "pyo3_runtime"


def _cut(text: str, limit: int, is_path: bool) -> str:
    if len(text) <= limit:
        return text
    end = limit // 3 if is_path else 0
    return f"{text[: limit - 3 - end]}...{text[len(text) - end :] if end else ''}"
