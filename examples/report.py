"""Make a report from the records of runs: tables in Markdown and LaTeX, tests, pictures, one page.

The same as `agwm report`:

python examples/report.py output/glue_lowres --output-dir output/report
python examples/report.py output/sst2 output/stsb --output-dir output/report
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from agwm.command_line.flags import Parser
from agwm.command_line.guard import run_command
from agwm.command_line.report import add_flags, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments; None: those of the process.

    Returns:
        The exit code of :func:`agwm.command_line.guard.guarded`.
    """
    parser = Parser(description=__doc__)
    add_flags(parser)
    parser.set_defaults(program="python examples/report.py")
    return run_command(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
