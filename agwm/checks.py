"""Checks of input: a number, a choice, the fields of a settings class. A mistake is one line."""

from __future__ import annotations

import functools
import math
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeGuard, Union

from agwm.errors import AgwmError, ConfigError, close_names, one_line, shown

if TYPE_CHECKING:
    import torch

__all__ = [
    "Count",
    "Fraction",
    "Interval",
    "NonNegative",
    "Precision",
    "Schedule",
    "Seed",
    "annotations_of",
    "check_choice",
    "check_fields",
    "check_precision",
    "check_value",
    "describe",
    "field_tests",
    "is_a",
    "options",
]

LARGEST = 1e9  # the largest number of a setting that names no limit; a larger one is a slip
_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}


@dataclass(frozen=True)
class Interval:
    """The numbers from ``low`` to ``high``.

    Attributes:
        low: Smallest number.
        high: Largest number; infinity: ``LARGEST``, which only the message of a larger one tells.
        is_open: Leave out ``low`` itself.
    """

    low: float
    high: float = math.inf
    is_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.is_open else value >= self.low
        return above and value <= (LARGEST if math.isinf(self.high) else self.high)

    def __str__(self) -> str:
        low, high = _shown(self.low), _shown(self.high)
        if self.is_open:
            return f"> {low}" + ("" if math.isinf(self.high) else f" and <= {high}")
        return f">= {low}" if math.isinf(self.high) else f"in [{low}, {high}]"


def _shown(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


Schedule = Literal["linear", "cosine", "constant"]
Precision = Literal["fp32", "bf16", "fp16"]

Count = Annotated[int, Interval(1)]
NonNegative = Annotated[float, Interval(0)]
Fraction = Annotated[float, Interval(0, 1)]
Seed = Annotated[int, Interval(0, 2**32 - 1)]


def options(kind: Any) -> tuple[str, ...]:
    """Return the texts that a ``Literal`` allows.

    Example:
        >>> options(Schedule)
        ('linear', 'cosine', 'constant')
    """
    return typing.get_args(kind)


@functools.cache
def annotations_of(cls: Any) -> dict[str, Any]:
    """Return the annotated types of a class, evaluated once: a grid builds thousands of settings."""
    return typing.get_type_hints(cls, include_extras=True)


@functools.cache
def field_tests(cls: Any) -> dict[str, Callable[[Any], bool]]:
    """Return for each field of a class the function that tests a value for its annotated type."""
    hints = annotations_of(cls)
    return {key: _test_of(kind) for key, kind in hints.items() if typing.get_origin(kind) is not ClassVar}


def check_value(
    name: str,
    kind: Any,
    value: object,
    remedy: str = "Correct it.",
    error: type[AgwmError] = ConfigError,
) -> None:
    """Raise unless a value is of an annotated type.

    A number has to be finite and in the :class:`Interval` of its ``Annotated`` type; ``True`` is no number.

    Args:
        name: The name that the user knows the value by.
        kind: The type: of numbers, texts, ``Literal``, ``None``, classes, and lists, mappings or unions of
            them.
        value: The value.
        remedy: A sentence that says what to do.
        error: The class of the error.

    Raises:
        AgwmError: If it is not; of the class ``error``.

    Example:
        >>> check_value("clipping", NonNegative, -1.0, "Use 0 for no clipping.")
        Traceback (most recent call last):
        ...
        agwm.errors.ConfigError: clipping is out of range: expected a number >= 0, got -1.0. Use 0 ...
        >>> check_value("schedule", Schedule, "linar")
        Traceback (most recent call last):
        ...
        agwm.errors.ConfigError: schedule is unknown: expected one of linear, ... Did you mean 'linear'? ...
    """
    if is_a(kind, value):
        return
    parts = list(_parts(kind))
    texts = [text for part in parts if typing.get_origin(part) is Literal for text in options(part)]
    hint = close_names(value, texts) if isinstance(value, str) else ""
    bases = [typing.get_args(part)[0] for part in parts if typing.get_origin(part) is Annotated]
    if texts and (isinstance(value, str) or not bases):
        problem = "is unknown"
    elif bases:
        problem = "is out of range" if {int, float} & set(bases) else "is wrong"
    else:
        problem = "is of the wrong type"
    got = "null" if value is None else shown(value, 80)
    limit = f" and <= {LARGEST:g}" if _is_number(value) and value > LARGEST else ""
    raise error(f"{name} {problem}: expected {describe(kind)}{limit}, got {got}.{hint} {remedy}")


def check_choice(
    name: str,
    value: object,
    choices: Iterable[str],
    remedy: str = "Choose one of them.",
    error: type[AgwmError] = ConfigError,
) -> None:
    """Raise unless a value is one of some texts; see :func:`check_value`.

    Raises:
        AgwmError: If it is not; of the class ``error``.
    """
    check_value(name, Literal[tuple(choices)], value, remedy, error)


def check_fields(owner: Any, name: str | None = None) -> None:
    """Raise unless every field of a settings class has a value of its annotated type.

    Call it in ``__post_init__``.

    Args:
        owner: The dataclass instance.
        name: The name of the owner in messages; None: its class.

    Raises:
        ConfigError: If one has not.
    """
    cls: Any = type(owner)
    for key, is_right in field_tests(cls).items():
        value = getattr(owner, key)
        if not is_right(value):
            path = f"{name or cls.__name__}.{key}"
            check_value(path, annotations_of(cls)[key], value, "Correct it in the config.")


def check_precision(precision: object, device: torch.device) -> None:
    """Raise unless the precision is known and the device can do it.

    Raises:
        ConfigError: If not.
    """
    check_value("precision", Precision, precision, "Pass precision='fp32'.")
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError(
            f"precision='fp16' needs gradient scaling: expected a CUDA device, got {device.type!r}."
            " Use 'bf16' or 'fp32'."
        )


def is_a(kind: Any, value: object) -> bool:
    """Return whether a value is of an annotated type; see :func:`check_value`."""
    return _test_of(kind)(value)


@functools.lru_cache(maxsize=1000)
def _test_of(kind: Any) -> Callable[[Any], bool]:
    """Return the function that tests a value for a type: to take a type apart takes longer than to test."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        is_base, allowed = _test_of(arguments[0]), arguments[1]
        return lambda value: is_base(value) and value in allowed
    if origin in (Union, types.UnionType):
        tests = tuple(map(_test_of, arguments))
        return lambda value: any(test(value) for test in tests)
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in arguments
    if origin in (list, tuple):
        is_item = _test_of(arguments[0])
        return lambda value: isinstance(value, origin) and all(map(is_item, value))
    if origin is Mapping:
        is_key, is_value = _test_of(arguments[0]), _test_of(arguments[1])
        return lambda value: (
            isinstance(value, Mapping)
            and all(is_key(key) and is_value(item) for key, item in value.items())
        )
    if origin is type:
        return lambda value: isinstance(value, type) and issubclass(value, arguments[0])
    if kind is Any:
        return lambda value: True
    if kind is int:
        return lambda value: isinstance(value, Integral) and not isinstance(value, bool)
    return _is_finite if kind is float else lambda value: isinstance(value, kind)


def _is_finite(value: object) -> bool:
    if type(value) is float:  # of thousands in a record
        return math.isfinite(value)
    # math.isfinite cannot take an integer that no float holds
    # an integer may be too large for a float, and a small float of numpy's for the limit
    is_whole = isinstance(value, Integral)
    return _is_number(value) and abs(value if is_whole else float(value)) <= sys.float_info.max


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def describe(kind: Any) -> str:
    """Return a description of an annotated type, for messages.

    Example:
        >>> describe(Count | None)
        'an integer >= 1 or null'
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return f"{describe(arguments[0])} {arguments[1]}"
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, arguments))
    if origin is Literal:
        return "one of " + one_line(", ".join(arguments))
    if origin in (list, tuple, Mapping):
        item = arguments[1 if origin is Mapping else 0]
        start = "a section" if origin is Mapping else "a list"
        return start if item is Any else f"{start}, each {describe(item)}"
    if origin is type:
        return f"a subclass of {arguments[0].__name__}"
    return "null" if kind is type(None) else _NAMES.get(kind, kind.__name__)


def _parts(kind: Any) -> Iterator[Any]:
    yield kind
    if typing.get_origin(kind) in (Union, types.UnionType, list, tuple):
        for part in typing.get_args(kind):
            yield from _parts(part)
