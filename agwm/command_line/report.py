"""Make a report from the records of runs: tables in Markdown and LaTeX, tests, pictures, one page.

agwm report output/glue_lowres --output-dir output/report
agwm report output/sst2 output/stsb --output-dir output/report
"""

from __future__ import annotations

import argparse
import shlex

from agwm.command_line.guard import write_lines

__all__ = ["add_flags", "run"]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to its parser."""
    parser.add_argument(
        "results", nargs="+", metavar="RESULTS_DIR", help="folder with records, or with results/"
    )
    parser.add_argument("--output-dir", required=True, metavar="DIR", help="where the report goes")
    parser.set_defaults(program="agwm report", goes_on=False)


def run(arguments: argparse.Namespace) -> None:
    """Make the report, and print its tables.

    Args:
        arguments: Those of :func:`add_flags`; the page names ``program``, by which it was made.

    Raises:
        AgwmError: If a record is missing or wrong, or the folder cannot be written.
    """
    from agwm.experiments.refusals import load_refusals
    from agwm.experiments.reporting.page import PAGE, write_report
    from agwm.experiments.reporting.runs import load_runs, tables_of
    from agwm.experiments.reporting.tables import make_table, wide_table
    from agwm.markdown import flat

    runs = load_runs(arguments.results)
    command = (
        f"{arguments.program} {shlex.join([*arguments.results, '--output-dir', arguments.output_dir])}"
    )
    refused = load_refusals(arguments.results)
    written = write_report(runs, arguments.output_dir, command, refused)
    for (model, size), own in tables_of(runs).items():
        write_lines(f"\n{flat(model)}, {size} training examples\n\n{wide_table(make_table(own))}")
    write_lines(f"{len(written)} files in {arguments.output_dir}; begin with {PAGE}.")
