"""YAML into frozen dataclasses, strictly: an unknown key or a wrong type is an error with its path."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from agwm.errors import ConfigError
from agwm.experiments.yaml_text import read_yaml_text

__all__ = ["build", "flat_settings", "lay_over", "parse_assignment", "read_yaml"]

_T = TypeVar("_T")
_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}
_NOT_THIS_TYPE = object()


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; an empty file is an empty mapping.

    Raises:
        ConfigError: If the file is missing, not UTF-8, not YAML or no mapping, or holds a key twice.
    """
    path = Path(path)
    try:
        content = read_yaml_text(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(
            f"Cannot read config {str(path)!r}: expected a YAML file, got: {error.strerror}. Check it."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"Config {str(path)!r} is not YAML: expected 'key: value' lines, got:"
            f" {' '.join(str(error).split())}. Correct the file."
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"Config {str(path)!r} is no mapping: expected 'key: value' lines, got"
            f" {type(content).__name__}. Correct the file."
        )
    return content


def parse_assignment(text: str) -> dict[str, Any]:
    """Turn ``"search.num_resplits=5"`` into ``{"search": {"num_resplits": 5}}``.

    The value is read as YAML, so ``null``, ``true`` and ``[1, 2]`` mean what they mean in a file.

    Raises:
        ConfigError: If the text is not of that form.

    Example:
        >>> parse_assignment("search.num_resplits=5")
        {'search': {'num_resplits': 5}}
    """
    key, sign, value = text.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise ConfigError(
            f"Cannot read setting {text!r}: expected key=value such as search.num_resplits=5."
            " Write it without spaces, or in quotes."
        )
    try:
        parsed = read_yaml_text(value, f"--set {text}")
    except yaml.YAMLError:
        raise ConfigError(
            f"Cannot read the value of setting {text!r}: expected YAML, got {value!r}. Quote it."
        ) from None
    for part in reversed(parts):
        parsed = {part: parsed}
    return parsed


def lay_over(base: Mapping[str, Any], delta: Mapping[str, Any]) -> dict[str, Any]:
    """Lay ``delta`` over ``base``, section by section; neither is changed. Lists are replaced whole.

    Example:
        >>> lay_over({"search": {"epochs": 3, "clipping": 5.0}}, {"search": {"epochs": 1}})
        {'search': {'epochs': 1, 'clipping': 5.0}}
    """
    merged = dict(base)
    for key, value in delta.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = lay_over(old, value) if both else value
    return merged


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one dict with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flat_settings(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def build(cls: type[_T], values: Mapping[str, Any], source: str, prefix: str = "") -> _T:
    """Make a dataclass of nested dataclasses from nested mappings; what is missing has its default.

    An integer is taken where a number is expected, and so is the text ``2e-5``, which YAML 1.1 does
    not read as a number. ``true`` is no integer.

    Args:
        cls: The dataclass.
        values: Key -> value; sections are mappings.
        source: Where the values come from, for messages.
        prefix: Dotted path of this section, with its dot.

    Returns:
        An instance of ``cls``.

    Raises:
        ConfigError: If a key is unknown, a value has the wrong type, or the dataclass refuses it.
    """
    hints = typing.get_type_hints(cls)
    known = [entry.name for entry in dataclasses.fields(cls)]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if key not in known:
            raise ConfigError(f"Unknown config key {path!r} in {source}: {_known(cls, str(key), prefix)}")
        kind = hints[key]
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, Mapping):
                raise _wrong_type(path, "a section of 'key: value' lines", value, source)
            arguments[key] = build(kind, value, source, f"{path}.")
            continue
        converted = _convert(kind, value)
        if converted is _NOT_THIS_TYPE:
            raise _wrong_type(path, _describe(kind), value, source)
        arguments[key] = converted
    return cls(**arguments)


def _known(cls: type, key: str, prefix: str) -> str:
    """Say what is known: a close name here, else that very name in a section, else all names."""
    known = [entry.name for entry in dataclasses.fields(cls)]
    hints = typing.get_type_hints(cls)
    close = difflib.get_close_matches(key, known, n=1)
    for section in (name for name in known if dataclasses.is_dataclass(hints[name])):
        if key in (entry.name for entry in dataclasses.fields(hints[section])):
            close = close or [f"{section}.{key}"]
    if close:
        return f"expected a known key. Did you mean '{prefix}{close[0]}'?"
    return f"expected one of {', '.join(prefix + name for name in known)}. Correct or remove it."


def _wrong_type(path: str, expected: str, value: object, source: str) -> ConfigError:
    shown = "null" if value is None else f"{value!r} ({type(value).__name__})"
    return ConfigError(
        f"Wrong type of config key {path!r} in {source}: expected {expected}, got {shown}. Correct it."
    )


def _convert(kind: Any, value: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        tried = (_convert(option, value) for option in typing.get_args(kind))
        return next((result for result in tried if result is not _NOT_THIS_TYPE), _NOT_THIS_TYPE)
    if origin is Literal:
        # Which texts are allowed is checked by the dataclass, whose message lists them.
        return value if isinstance(value, str) else _NOT_THIS_TYPE
    if origin in (list, tuple):
        item = typing.get_args(kind)[0]
        converted = [_convert(item, entry) for entry in value] if isinstance(value, list | tuple) else None
        if converted is None or any(entry is _NOT_THIS_TYPE for entry in converted):
            return _NOT_THIS_TYPE
        return origin(converted)
    if kind is type(None):
        return None if value is None else _NOT_THIS_TYPE
    if kind is float:
        return _to_float(value)
    if isinstance(value, bool) and kind is not bool:
        return _NOT_THIS_TYPE
    return value if isinstance(value, kind) else _NOT_THIS_TYPE


def _to_float(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return _NOT_THIS_TYPE
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return _NOT_THIS_TYPE
    return number if math.isfinite(number) else _NOT_THIS_TYPE


def _describe(kind: Any) -> str:
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in typing.get_args(kind))
    if origin is Literal:
        return "one of " + ", ".join(typing.get_args(kind))
    if origin in (list, tuple):
        return f"a list, each {_describe(typing.get_args(kind)[0])}"
    return "null" if kind is type(None) else _NAMES[kind]
