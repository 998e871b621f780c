"""Make a report from the records of runs: tables in Markdown and LaTeX, tests, pictures, one page.

python examples/report.py output/glue_lowres --output-dir output/report
python examples/report.py output/sst2 output/stsb --output-dir output/report
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from agwm.experiments.command import run_command
from agwm.experiments.flags import Parser
from agwm.experiments.refusals import load_refusals
from agwm.experiments.reporting.page import PAGE, write_report
from agwm.experiments.reporting.runs import load_runs, tables_of
from agwm.experiments.reporting.tables import make_table, wide_table
from agwm.markdown import flat


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "results", nargs="+", metavar="RESULTS_DIR", help="folder with records, or with results/"
    )
    parser.add_argument("--output-dir", required=True, metavar="DIR", help="where the report goes")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments; None: those of the process.

    Returns:
        The exit code of :func:`agwm.experiments.command.guarded`.
    """
    return run_command(run, make_parser(), argv)


def run(arguments: argparse.Namespace) -> None:
    """Make the report, and print its tables.

    Raises:
        AgwmError: If a record is missing or wrong, or the folder cannot be written.
    """
    runs = load_runs(arguments.results)
    parts = ["python", "examples/report.py", *arguments.results, "--output-dir", arguments.output_dir]
    refused = load_refusals(arguments.results)
    written = write_report(runs, arguments.output_dir, shlex.join(parts), refused)
    for (model, size), own in tables_of(runs).items():
        print(f"\n{flat(model)}, {size} training examples\n\n{wide_table(make_table(own))}")
    print(f"{len(written)} files in {arguments.output_dir}; begin with {PAGE}.")


if __name__ == "__main__":
    sys.exit(main())
