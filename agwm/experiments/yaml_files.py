"""YAML into frozen dataclasses, strictly: an unknown key or a wrong type is an error with its path."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, cast

from agwm.checks import annotations_of, check_value, field_tests, is_a
from agwm.errors import AgwmError, ConfigError, border, one_line, shown
from agwm.experiments.yaml_loader import parse_yaml
from agwm.files import read_text

__all__ = [
    "Form",
    "build",
    "checked",
    "construct",
    "lay_over",
    "parse_assignment",
    "read_yaml",
]

_T = TypeVar("_T")
_DEEPEST = 20  # parts of the key of a setting


@dataclasses.dataclass(frozen=True)
class Form:
    """Rules for one kind of file: how keys are read, and how errors name them.

    Attributes:
        key: The name of a key in errors; ``{path}`` and ``{source}`` stand in it, quoted.
        remedy: A sentence that says what to do.
        error: The class of the errors.
        names: Name in errors of some keys, such as the flag that sets one.
        is_by_hand: People write it: keys may be missing, and numbers may be written as texts.
    """

    key: str = "Config key {path} in {source}"
    remedy: str = "Correct it."
    error: type[AgwmError] = ConfigError
    is_by_hand: bool = True
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)


CONFIG = Form()


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; an empty file is an empty mapping.

    Raises:
        ConfigError: If the file is missing, not UTF-8, not YAML or no mapping, or holds a key twice.
    """
    path, expected, remedy = Path(path), "'key: value' lines of YAML", "Correct the file, or name another."
    problem = "Cannot read config"
    text = read_text(path, expected, remedy, problem=problem, error=ConfigError)
    with border(path, expected, remedy, problem=problem, error=ConfigError):
        content = parse_yaml(text, shown(path), path.name)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"Config {shown(path)} is no mapping: expected 'key: value' lines, got"
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
            f"Cannot read --set {shown(text)}: expected key=value such as search.num_resplits=5."
            " Write it without spaces, or in quotes."
        )
    if len(parts) > _DEEPEST:
        raise ConfigError(f"Cannot read --set {shown(text)}: expected a setting, got {len(parts)} levels.")
    remedy = "Put the value into quotes."
    with border(text, "a value of YAML after '='", remedy, problem="Cannot read --set", error=ConfigError):
        parsed = parse_yaml(value, f"--set {shown(text)}", "--set")
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
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = lay_over(old, value)
        else:
            merged[key] = value
    return merged


def build(cls: type[_T], values: Any, source: str, prefix: str = "", form: Form = CONFIG) -> _T:
    """Make a dataclass of nested dataclasses from nested mappings; a missing key takes its default.

    Args:
        cls: The dataclass.
        values: Key -> value; sections are mappings.
        source: Name of the file or flag that holds the values, for messages.
        prefix: Dotted path of these values, with its dot.
        form: Rules for the keys.

    Returns:
        An instance of ``cls``.

    Raises:
        AgwmError: As :func:`checked` does, or if the dataclass refuses the values together.
    """
    return construct(cls, checked(cls, values, source, prefix, form))


def construct(cls: type[_T], values: Mapping[str, Any], default: _T | None = None) -> _T:
    """Make a dataclass of nested dataclasses from nested mappings that are checked already.

    Args:
        cls: The dataclass.
        values: Key -> value; sections are mappings.
        default: Holds the values of missing keys; None: they are those of the class.
    """
    sections, defaults = _sections(cast(Any, cls)), _default_sections(cast(Any, cls))
    arguments = {
        key: construct(sections[key], value, defaults.get(key)) if key in sections else value
        for key, value in values.items()
    }
    return cls(**arguments) if default is None else dataclasses.replace(cast(Any, default), **arguments)


def checked(cls: Any, values: Any, source: str, prefix: str = "", form: Form = CONFIG) -> dict[str, Any]:
    """Return nested mappings with every value in the type that a dataclass asks for.

    An integer is taken where a number is expected, and so is the text ``2e-5``, which YAML 1.1 does
    not read as a number. ``true`` is no integer.

    Args:
        cls: The dataclass.
        values: Key -> value; sections are mappings.
        source: Name of the file or flag that holds the values, for messages.
        prefix: Dotted path of this section, with its dot.
        form: Rules for the keys.

    Raises:
        AgwmError: If a key is unknown or missing, or a value is of the wrong type or out of range; of the
            form's class.
    """

    def name(path: str) -> str:
        written = shown(path, 120) if form.is_by_hand else one_line(path, 120)
        return form.names.get(path) or form.key.format(path=written, source=source)

    if not isinstance(values, Mapping):
        check_value(name(prefix[:-1] or "content"), Mapping[Any, Any], values, form.remedy, form.error)
    hints, tests, sections = annotations_of(cls), field_tests(cls), _sections(cls)
    converted = _converted_fields(cls) if form.is_by_hand else frozenset()
    if not form.is_by_hand:
        for key in _required(cls):
            if key not in values:
                raise form.error(f"{name(prefix + key)} is missing: expected it, got none. {form.remedy}")
    result: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if key not in tests:
            raise form.error(f"{name(path)} is unknown: {_known(cls, str(key), prefix)} {form.remedy}")
        if key in sections:
            result[key] = checked(sections[key], value, source, f"{path}.", form)
        else:
            result[key] = _convert(hints[key], value) if key in converted else value
            if not tests[key](result[key]):  # to make its name takes longer than to test it
                check_value(name(path), hints[key], result[key], form.remedy, form.error)
    return result


@functools.cache
def _sections(cls: Any) -> dict[str, Any]:
    """Return the fields that are dataclasses themselves, with their classes."""
    return {key: kind for key, kind in annotations_of(cls).items() if dataclasses.is_dataclass(kind)}


@functools.cache
def _default_sections(cls: Any) -> dict[str, Any]:
    """Return what a dataclass puts into its fields of dataclasses, by their names."""
    factories: dict[str, Any] = {entry.name: entry.default_factory for entry in dataclasses.fields(cls)}
    return {
        key: factories[key]()
        for key in _sections(cls)
        if factories[key] not in (dataclasses.MISSING, _sections(cls)[key])
    }


@functools.cache
def _converted_fields(cls: Any) -> frozenset[str]:
    return frozenset(key for key, kind in annotations_of(cls).items() if _is_converted(kind))


def _required(cls: type) -> list[str]:
    """Return the names of the fields without a default."""
    missing = dataclasses.MISSING
    return [
        entry.name
        for entry in dataclasses.fields(cls)
        if entry.default is missing and entry.default_factory is missing
    ]


def _known(cls: type, key: str, prefix: str) -> str:
    """Say which key is expected: a close name here, else that very name in a section, else any name."""
    known = [entry.name for entry in dataclasses.fields(cls)]
    hints = annotations_of(cls)
    close = difflib.get_close_matches(key, known, n=1)
    for section in (name for name in known if dataclasses.is_dataclass(hints[name])):
        if key in (entry.name for entry in dataclasses.fields(hints[section])):
            close = close or [f"{section}.{key}"]
    if close:
        return f"expected a known key. Did you mean '{prefix}{close[0]}'?"
    return f"expected one of {one_line(', '.join(prefix + name for name in known), 300)}."


def _convert(kind: Any, value: Any) -> Any:
    """Return a value as its type has it, or as it is where it has none of that type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _convert(arguments[0], value)
    if origin in (Union, types.UnionType):
        tried = ((option, _convert(option, value)) for option in arguments)
        return next((converted for option, converted in tried if is_a(option, converted)), value)
    if origin in (list, tuple) and isinstance(value, list | tuple):
        return origin(_convert(arguments[0], item) for item in value)
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            return float(value)
    return value


def _is_converted(kind: Any) -> bool:
    """Return whether a type has a part that values are converted to: a number, a list or a tuple."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Annotated, Union, types.UnionType):
        return any(map(_is_converted, arguments[:1] if origin is Annotated else arguments))
    return kind is float or origin in (list, tuple)
