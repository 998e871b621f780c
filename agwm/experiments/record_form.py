"""What a record must hold: checked whenever one is read, so that nothing later meets half of one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agwm.errors import DataError

__all__ = ["check_record", "read_record"]

_REMEDY = "Remove it, and its run is made again."
_SECTIONS = ("run_info", "train_info", "scores")
_NUMBERS_OF_ALPHA = ("mean", "min", "max")
# Settings that are read by name; the rest are only compared.
_SETTINGS = ("vanilla", "rivals", "mixing", "hypergradient", "search", "final", "data")


def read_record(path: str | Path) -> dict[str, Any]:
    """Read one record.

    Raises:
        DataError: If the file cannot be read, or is not a whole record; the message names it.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"Cannot read {str(path)!r}: expected a record, got {error.strerror}. Make it readable."
        ) from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise DataError(
            f"{str(path)!r} is no record: expected JSON, got {type(error).__name__}. {_REMEDY}"
        ) from None
    check_record(record, str(path))
    return record


def check_record(record: Any, source: str) -> None:
    """Check that a record has all that tables, tests, pictures and estimates read from it.

    A run that has a reason of its failure has no score, and every other run has one.

    Args:
        record: What a run wrote.
        source: Its file, for the message.

    Raises:
        DataError: If something is missing or of the wrong kind.
    """
    if not isinstance(record, Mapping):
        _refuse(source, f"a mapping with {', '.join(_SECTIONS)}", record)
    for section in _SECTIONS:
        if not isinstance(record.get(section), Mapping):
            _refuse(source, f"a section {section}", record.get(section))
    for name, (is_right, expected) in _FORM.items():
        section, _, key = name.partition(".")
        own = record[section]
        if key not in own and name not in _OPTIONAL:
            _refuse(source, f"{name} to be {expected}", "no such key")
        if key in own and not is_right(own[key]):
            _refuse(source, f"{name} to be {expected}", own[key])
    failure, scores = record["train_info"]["failure"], record["scores"]
    has_score = scores["test"] is not None or scores["dev"] is not None
    if has_score == (failure is not None):
        _refuse(source, "a score, or the reason of a failure", "both" if has_score else "neither")


def _refuse(source: str, expected: str, value: Any) -> None:
    shown = value if isinstance(value, str) else repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
    raise DataError(f"{source!r} is no record: expected {expected}, got {shown}. {_REMEDY}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_cost(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_settings(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(value.get(key, {}), Mapping) for key in _SETTINGS)


def _is_alpha(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(numbers, Mapping)
        and all(_is_number(numbers.get(key)) for key in _NUMBERS_OF_ALPHA)
        and all(map(_is_number, numbers.values()))
        for numbers in value.values()
    )


def _or_null(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_right(value)


_TEXT = (_is_text, "a text")
_COUNT = (_is_count, "an integer")
_COST = (_is_cost, "a number from 0")
_SCORE = (_or_null(_is_number), "a finite number or null")
_OPTIONAL = ("run_info.label", "run_info.versions", "train_info.num_test")
_FORM: dict[str, tuple[Callable[[Any], bool], str]] = {
    "run_info.method": _TEXT,
    "run_info.label": _TEXT,
    "run_info.task": _TEXT,
    "run_info.model": _TEXT,
    "run_info.train_size": _COUNT,
    "run_info.seed": _COUNT,
    "run_info.settings": (_is_settings, "a section with sections"),
    "run_info.data": _TEXT,
    "run_info.versions": (lambda value: isinstance(value, Mapping), "a section"),
    "train_info.failure": (_or_null(_is_text), "a text or null"),
    "train_info.num_test": (_or_null(_is_count), "an integer or null"),
    "train_info.passes": _COST,
    "train_info.total_seconds": _COST,
    "train_info.alpha": (_is_alpha, "numbers on each mixed weight"),
    "scores.metric": _TEXT,
    "scores.test": _SCORE,
    "scores.dev": _SCORE,
    "scores.constant": _SCORE,
    "scores.is_degenerate": (lambda value: isinstance(value, bool), "true or false"),
}
