"""Words for numbers, lists and settings in what a selection says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from agwm.model_selection.record import CandidateRow

__all__ = ["decimals", "listed", "number", "score_words", "settings_words", "tried_words"]

_MOST_DECIMALS = 6
_MOST_VALUES = 4


def decimals(rows: Sequence[CandidateRow]) -> int:
    """Return how many decimals the scores deserve: as many as show the first digit of the error.

    Args:
        rows: Those of a table. The chosen row's interval decides, or the widest where none is chosen.
    """
    bounded = [row for row in rows if row.low is not None and row.high is not None]
    deciding = [row for row in bounded if row.verdict == "chosen"] or bounded
    half = max(((row.high or 0.0) - (row.low or 0.0) for row in deciding), default=0.0) / 2
    found = 2 if half <= 0 else -math.floor(math.log10(half) + 1e-9)
    largest = max((abs(row.score) for row in rows if row.score is not None), default=0.0)
    return min(max(found, 2 if largest < 10 else 0), _MOST_DECIMALS)


def number(value: float, places: int) -> str:
    """Write a number; small ones get more decimals than asked for, until a digit is to be seen.

    Example:
        >>> number(0.8911, 2), number(0.0042, 2), number(0.0, 2), number(-1e-12, 2)
        ('0.89', '0.004', '0.00', '0.00')
    """
    if abs(value) < 10**-_MOST_DECIMALS:
        return f"{0:.{places}f}"
    return f"{value:.{max(places, min(_MOST_DECIMALS, -math.floor(math.log10(abs(value)))))}f}"


def score_words(row: CandidateRow, places: int) -> str:
    """Write a score with its interval, such as ``0.89 [0.86, 0.92]``; "" without a score."""
    if row.score is None:
        return ""
    if row.low is None or row.high is None:
        return f"{row.score:.{places}f}"
    return f"{row.score:.{places}f} [{row.low:.{places}f}, {row.high:.{places}f}]"


def listed(names: Sequence[str], most: int | None = None) -> str:
    """Join names by commas and "and"; of more than ``most`` the rest is counted.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], most=2)
        ('a', 'a, b and c', 'a, b and 2 more')
    """
    if most is not None and len(names) > most + 1:
        names = [*names[:most], f"{len(names) - most} more"]
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1] if names else "") if part)


def settings_words(settings: Sequence[dict[str, Any]]) -> str:
    """Say which settings the folds chose: the most frequent value of each, and on how many folds.

    Args:
        settings: The settings of each fold.

    Example:
        >>> settings_words([{"rate": 1e-4, "epochs": 4}] * 4 + [{"rate": 3e-5, "epochs": 4}])
        'rate 1e-4 (4 of 5 folds), epochs 4'
    """
    words = []
    for name in dict.fromkeys(name for chosen in settings for name in chosen):
        counts = Counter(_value(chosen[name]) for chosen in settings if name in chosen)
        value, count = counts.most_common(1)[0]
        words.append(
            f"{name} {value}" + (f" ({count} of {len(settings)} folds)" if count < len(settings) else "")
        )
    return ", ".join(words)


def tried_words(settings: Iterable[dict[str, Any]]) -> str:
    """Say which settings were tried.

    Args:
        settings: The settings of each trial.

    Example:
        >>> tried_words([{"learning_rate": 1e-3, "epochs": 4}, {"learning_rate": 1e-5, "epochs": 4}])
        'learning_rate 1e-5, 1e-3; epochs 4'
    """
    values: dict[str, list[Any]] = {}
    for trial in settings:
        for name, value in trial.items():
            if value not in values.setdefault(name, []):
                values[name].append(value)
    return "; ".join(f"{name} {_values(found)}" for name, found in values.items())


def _values(values: list[Any]) -> str:
    if all(isinstance(value, (int, float)) for value in values):
        values = sorted(values)
        if len(values) > _MOST_VALUES:
            return f"{_value(values[0])} to {_value(values[-1])}"
    return ", ".join(map(_value, values))


def _value(value: Any) -> str:
    if isinstance(value, float):
        digits, _, power = f"{value:g}".partition("e")
        if not power and value and abs(value) < 1e-2:
            digits, _, power = f"{value:.6e}".partition("e")
            digits = digits.rstrip("0").rstrip(".")
        return f"{digits}e{int(power)}" if power else digits
    return str(value)
