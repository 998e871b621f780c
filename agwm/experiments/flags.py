"""Parse command-line flags; a mistake is one line."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from agwm.errors import ConfigError, one_line, shown

__all__ = ["Parser", "read_list", "read_number", "read_seeds", "read_size"]


class Parser(argparse.ArgumentParser):
    """A parser that raises this package's errors."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage, so that every mistake is one line.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"Cannot read the command line: {one_line(message)}. See --help.")


def read_list(text: str) -> list[str]:
    """Read ``a,b`` as names, at least one.

    Raises:
        ConfigError: If there is no name.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ConfigError(
            f"Empty flag: expected names, got {shown(text)}. Write them, or leave the flag out."
        )
    return parts


def read_seeds(text: str) -> int | list[int]:
    """Read ``3`` as a number of seeds and ``3,`` or ``3,5`` as seeds.

    Raises:
        ConfigError: If the text is neither.
    """
    try:
        return [int(part) for part in read_list(text)] if "," in text else int(text)
    except ValueError:
        raise ConfigError(
            "Cannot read --seeds: expected a number of seeds or a list such as 1017,4803, got"
            f" {shown(text)}. Correct it."
        ) from None


def read_size(text: str) -> int | str:
    """Read ``--train-size``: a number, ``all`` or ``whole``.

    Raises:
        ConfigError: If the text is neither.
    """
    if text in ("all", "whole"):
        return text
    try:
        return int(text)
    except ValueError:
        raise ConfigError(
            f"Cannot read --train-size: expected an integer, all or whole, got {text!r}. Correct it."
        ) from None


def read_number(flag: str, text: str, kind: type[int] | type[float] = int) -> Any:
    """Read the number that a flag was given.

    Raises:
        ConfigError: If the text is no number.
    """
    try:
        return kind(text)
    except ValueError:
        expected = "an integer" if kind is int else "a number"
        raise ConfigError(
            f"Cannot read {flag}: expected {expected}, got {shown(text)}. Correct it."
        ) from None
