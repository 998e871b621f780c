"""Parse command-line flags; a mistake is one line."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from agwm.errors import ConfigError, close_names, one_line, shown

__all__ = ["Parser", "read_list", "read_lists", "read_number", "read_seeds", "read_size"]


class Parser(argparse.ArgumentParser):
    """A parser that raises this package's errors; flags are not abbreviated."""

    def __init__(self, **options: Any) -> None:
        options = {
            "formatter_class": argparse.RawDescriptionHelpFormatter,
            "allow_abbrev": False,
            **options,
        }
        super().__init__(**options)
        self._commands: Any = None

    def add_subparsers(self, **options: Any) -> Any:
        """Let the first argument that is no flag name a command, each with a parser of its own."""
        self._commands = super().add_subparsers(**options)
        return self._commands

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the arguments, after a look at their names: a slip is told before a flag that is missing.

        Raises:
            ConfigError: If a flag or a command is unknown, with those that are close to it.
        """
        words = sys.argv[1:] if args is None else list(args)
        self._check_names(words)
        return super().parse_known_args(words, namespace)

    def _check_names(self, words: Sequence[str]) -> None:
        rest = iter(words)
        for word in rest:
            if word == "--":
                return
            if self._commands is not None and not word.startswith("-"):
                if word not in self._commands.choices:
                    self._refuse("command", word, self._commands.choices)
                return  # the others are those of the command
            flag, sign, _ = word.partition("=")
            action = self._option_string_actions.get(flag)
            if action is None and flag.startswith("--") and " " not in word:
                self._refuse("flag", flag, [one for one in self._option_string_actions if one[:2] == "--"])
            if action is not None and action.nargs is None and not sign:
                next(rest, None)  # its value

    def _refuse(self, kind: str, name: str, known: Iterable[str]) -> NoReturn:
        raise ConfigError(
            f"Cannot read the command line: expected a {kind} of {self.prog}, got {shown(name)}."
            f"{close_names(name, known, 1)} See {self.prog} --help."
        )

    def print_help(self, file: Any = None) -> None:
        """Print the help; where nobody reads it, the error is not swallowed, as argparse would."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage, so that every mistake is one line.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"Cannot read the command line: expected arguments as {self.prog} --help lists them, got others"
            f" ({one_line(message)})."
        )


def read_list(text: str) -> list[str]:
    """Read ``a,b`` as names, at least one. A name with a comma stands in quotes, as in a CSV file.

    Raises:
        ConfigError: If there is no name, or a quote is not closed.

    Example:
        >>> read_list('a, b'), read_list('"city, country",note')
        (['a', 'b'], ['city, country', 'note'])
    """
    try:
        (cells,) = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        raise ConfigError(
            f"Cannot read a flag: expected names with commas between, got {shown(text)}. Write a name that"
            " has a comma or a quote as in a CSV file, such as '\"city, country\",note'."
        ) from None
    parts = [part.strip() for part in cells if part.strip()]
    if not parts:
        raise ConfigError(
            f"Empty flag: expected names, got {shown(text)}. Write them, or leave the flag out."
        )
    return parts


def read_lists(texts: Iterable[str]) -> list[str]:
    """Read a flag that may be repeated, each time as ``a,b``.

    Raises:
        ConfigError: If there is no name in one of them.
    """
    return [name for text in texts for name in read_list(text)]


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
            f"Cannot read --train-size: expected an integer, all or whole, got {shown(text)}. Correct it."
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
