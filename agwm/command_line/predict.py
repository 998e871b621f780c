"""Apply a saved model to the rows of a file, or to lines on standard input.

agwm predict output/reviews new.csv -o predictions.csv
agwm predict output/reviews new.json --text review -o predictions.parquet
echo "as good as it gets" | agwm predict output/reviews

Without -o the answers go to standard output, as CSV. A pair on standard input has a tab between its texts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from agwm.command_line.flags import read_lists

__all__ = ["add_flags", "run"]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to its parser."""
    add = parser.add_argument
    add("folder", metavar="DIR", help="the model's folder")
    add("file", nargs="?", metavar="FILE", help="CSV, TSV, JSON, Parquet or Excel; -: standard input")
    add("--text", action="append", metavar="COLUMN[,COLUMN]", help="text columns (default: the model's)")
    add("-o", "--output", dest="out", metavar="OUT", help="a file ending in csv, tsv, json, jsonl, parquet")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 ... (default: auto)")
    add("--encoding", metavar="NAME", help="encoding of the file, e.g. latin-1 (default: UTF-8)")
    add("--separator", metavar="MARK", help="mark between the cells of CSV files (default: found)")
    add("--sheet", metavar="NAME", help="sheet of Excel files (default: the first)")
    add("--trust-remote-code", action="store_true", help="run code that lies in the folder")
    parser.set_defaults(goes_on=False)


def run(arguments: argparse.Namespace, predict_files: Callable[..., Any] | None = None) -> None:
    """Do what the flags say.

    Args:
        arguments: Those of :func:`add_flags`.
        predict_files: Called instead of the package's own.

    Raises:
        AgwmError: If something is wrong with the input.
    """
    text = None if arguments.text is None else read_lists(arguments.text)
    if predict_files is None:
        from agwm.prediction.command import predict_files as own  # late: it imports PyTorch

        predict_files = own
    predict_files(
        arguments.folder,
        None if arguments.file == "-" else arguments.file,
        text,
        arguments.out,
        arguments.device,
        arguments.encoding,
        arguments.separator,
        arguments.sheet,
        trust_remote_code=arguments.trust_remote_code,
    )
