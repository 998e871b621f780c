"""Completion of commands, flags and file names by the Tab key, in the shells that ``shtab`` knows."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, NoReturn

from agwm.command_line.guard import write_lines

__all__ = ["PrintCompletion"]

SHELLS = ("bash", "zsh", "fish", "tcsh")
_FILES = ("FILE", "TRAIN_FILE", "OUT")  # metavars of arguments that are files
_FOLDERS = ("DIR", "RESULTS_DIR")


class PrintCompletion(argparse.Action):
    """A flag that prints the completion script of a shell, and ends the program."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        text = "print the script that completes flags in a shell, e.g. agwm --print-completion bash"
        super().__init__(
            option_strings,
            argparse.SUPPRESS,
            default=argparse.SUPPRESS,
            choices=SHELLS,
            metavar="SHELL",
            help=f"{text}: {', '.join(SHELLS)}",
        )

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None
    ) -> NoReturn:
        """Print it."""
        import shtab  # late: no other command needs it

        for action in _actions(parser):
            if action.metavar in (*_FILES, *_FOLDERS):
                # the attribute that shtab looks for
                action.complete = shtab.FILE if action.metavar in _FILES else shtab.DIRECTORY  # type: ignore[attr-defined]
        write_lines(shtab.complete(parser, shell=values))
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                yield from _actions(own)
