"""The command line and the table of the programs in this folder."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from betty.logging.logger_base import get_logger

from agwm.command_line.flags import Parser
from agwm.errors import AgwmError, ConfigError
from agwm.files import write_text
from agwm.markdown import put_between

__all__ = ["run_program"]


def _parse(description: str, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of data, weights and masks (0)")
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="inner steps of each run (200)")
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="put the table between its markers there"
    )
    arguments = parser.parse_args(argv)
    for name, least in (("seed", 0), ("steps", 2)):
        value = getattr(arguments, name)
        if not least <= value < 2**31:
            raise ConfigError(
                f"--{name} is out of range: expected a number >= {least}, got {value}. Correct it."
            )
    return arguments


def run_program(
    name: str, description: str, table: Callable[[int, int], str], argv: Sequence[str] | None
) -> int:
    """Read the command line, print the table, and put it into the page that ``--write`` names.

    Args:
        name: Of the program, and of the markers in the page.
        description: What ``--help`` says.
        table: Makes the Markdown table from seed and number of steps.
        argv: Arguments; None: those of the process.

    Returns:
        The exit code: 0, or 2 when something is wrong with the input.
    """
    try:
        arguments = _parse(description, argv)
        get_logger().setLevel(logging.WARNING)  # Betty announces every engine on standard output
        text = table(arguments.seed, arguments.steps).rstrip("\n")
        packages = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("betty-ml", "torch"))
        command = f"python examples/betty/{name}.py --seed {arguments.seed} --steps {arguments.steps}"
        text = f"{text}\n\n`{command}` with {packages}, on the CPU."
        if arguments.write is not None:
            page = arguments.write.read_text(encoding="utf-8") if arguments.write.is_file() else ""
            write_text(arguments.write, put_between(page, name, text, repr(str(arguments.write))))
    except AgwmError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(text)
    return 0
