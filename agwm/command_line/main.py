"""The console script ``agwm``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from agwm._version import __version__
from agwm.command_line import compare_flags, fit, predict, report
from agwm.command_line.completion import PrintCompletion
from agwm.command_line.flags import Parser
from agwm.command_line.guard import run_command
from agwm.errors import ProcessError
from agwm.launch import started_processes

__all__ = ["main", "make_parser"]

# Each adds its flags by `add_flags(parser)`, and does what they say by `run(arguments)`.
COMMANDS: dict[str, tuple[Any, str]] = {
    "fit": (fit, "choose the best classifier or scorer for own rows, and train it"),
    "predict": (predict, "apply a model that fit, or any program, has saved"),
    "compare": (compare_flags, "compare methods of finetuning on tasks, sizes, models and seeds"),
    "report": (report, "make a report from the records of comparisons"),
}


def make_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="agwm",
        description="From a few hundred labelled rows to a model in use.",
        epilog="agwm COMMAND --help lists the flags of a command.",
    )
    parser.add_argument("--version", action="version", version=f"agwm {__version__}")
    parser.add_argument("--print-completion", action=PrintCompletion)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (module, line) in COMMANDS.items():
        own = commands.add_parser(name, help=line, description=module.__doc__)
        module.add_flags(own)
        own.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments; None: those of the process.

    Returns:
        The exit code of :func:`agwm.command_line.guard.guarded`.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    return run_command(_run, make_parser(), argv or ["--help"])


def _run(arguments: argparse.Namespace) -> None:
    size = started_processes()
    if size > 1:
        raise ProcessError(
            f"A command is one process: expected a start without torchrun or accelerate launch, got process"
            f" {os.environ['RANK']} of {size}. Start it alone; several runs at once are compare --jobs, and"
            " one run in several processes is a script that calls agwm.finetune."
        )
    arguments.run(arguments)
