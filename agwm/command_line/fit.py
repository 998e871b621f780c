"""Choose the best classifier or scorer for own rows, and train it on all of them.

agwm fit train.csv --text review --label stars --output-dir output/reviews
agwm fit pairs.parquet --text question,answer --label score --test test.parquet --output-dir output/pairs
agwm fit mails.csv --text body --label spam,urgent --class-weight balanced --output-dir output/mails

Without --test every score is one of cross-validation; with it the chosen method alone is scored on that
file, once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agwm.command_line.flags import read_lists, read_number
from agwm.command_line.guard import notice, report

if TYPE_CHECKING:
    from agwm.model_selection.options import FitOptions

__all__ = ["add_flags", "options_of", "run"]

# Field of FitOptions -> its flag, where the two differ.
_FLAGS = {"learning_rate": "--lr"}
_WHOLE = ("epochs", "max_length", "gradient_accumulation", "seeds", "seed", "jobs")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to its parser; every one not given is left to ``FitOptions``."""
    add = parser.add_argument
    add("train_file", metavar="TRAIN_FILE", help="labelled rows: CSV, TSV, JSON, Parquet or Excel")
    add("--text", action="append", required=True, metavar="COLUMN[,COLUMN]", help="text, or pair of texts")
    add("--label", action="append", required=True, metavar="COLUMN[,COLUMN]", help="class, score or labels")
    add("--output-dir", required=True, metavar="DIR", help="where the model and the report go")
    add("--test", metavar="FILE", help="labelled rows that are scored once, at the end")
    models = "mpnet, smollm2, rxnmapper, rxnfp (docs/models.md)"
    add("--model", metavar="NAME", help=f"minilm (the default), {models}, a folder, or a hub's name")
    add("--methods", action="append", metavar="A,B", help="candidates, instead of those of the budget")
    add("--budget", metavar="SIZE", help="small, normal or large (default: normal)")
    add("--metric", metavar="NAME", help="score that decides, such as accuracy, macro_f1 or spearman")
    add("--class-weight", metavar="HOW", help="balanced: rare classes count as much as frequent ones")
    add("--lr", dest="learning_rate", metavar="X", help="learning rate, instead of a choice by method")
    add("--epochs", metavar="N", help="passes over the rows, instead of a choice by method")
    add("--max-length", metavar="N", help="tokens of a row; longer ones are cut (default: 128)")
    add(
        "--gradient-accumulation",
        metavar="N",
        help="parts of a batch; memory holds one (default: 1)",
    )
    add("--seeds", metavar="N", help="repetitions of the cross-validation, instead of the budget's")
    add("--seed", metavar="N", help="seed of folds and training (default: 1017)")
    add("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 ... (default: auto)")
    add("--jobs", metavar="N", help="processes that train at once (default: one a core on the CPU)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--regression", action="store_true", help="labels are scores, also whole ones")
    kind.add_argument("--classes", action="store_true", help="labels are classes, also fractions")
    add("--multi-label", action="store_true", help="rows have any number of labels, such as a;b")
    add("--positive", metavar="CLASS", help="class that f1 is of")
    add("--encoding", metavar="NAME", help="encoding of the files, e.g. latin-1 (default: UTF-8)")
    add("--separator", metavar="MARK", help="mark between the cells of CSV files (default: found)")
    add("--sheet", metavar="NAME", help="sheet of Excel files (default: the first)")
    add("--trust-remote-code", action="store_true", help="run code that comes with the model")


def options_of(arguments: argparse.Namespace) -> FitOptions:
    """Return the options that the flags give.

    Raises:
        ConfigError: If one of them is wrong; it is named by its flag.
    """
    from agwm.experiments.yaml_files import Form, build
    from agwm.model_selection.options import FitOptions

    names = ("model", "budget", "metric", "class_weight", "learning_rate", "device", *_WHOLE)
    values: dict[str, Any] = {name: getattr(arguments, name) for name in names}
    values = {name: value for name, value in values.items() if value is not None}
    flags = {name: _FLAGS.get(name, "--" + name.replace("_", "-")) for name in (*names, "methods")}
    for name in _WHOLE:
        if name in values:
            values[name] = read_number(flags[name], values[name])
    if "learning_rate" in values:
        values["learning_rate"] = read_number("--lr", values["learning_rate"], float)
    if arguments.methods is not None:
        values["methods"] = read_lists(arguments.methods)
    values["trust_remote_code"] = arguments.trust_remote_code
    return build(FitOptions, values, "the command line", form=Form(names=flags))


def run(arguments: argparse.Namespace, fit_files: Callable[..., Any] | None = None) -> None:
    """Do what the flags say.

    Args:
        arguments: Those of :func:`add_flags`.
        fit_files: Called instead of the package's own.

    Raises:
        AgwmError: If something is wrong with the input.
    """
    options = options_of(arguments)
    text, label = read_lists(arguments.text), read_lists(arguments.label)
    if fit_files is None:
        from agwm.fitting.files import fit_files as own  # late: it imports PyTorch

        fit_files = own
    fit_files(
        arguments.train_file,
        text,
        label,
        arguments.test,
        arguments.output_dir,
        options,
        encoding=arguments.encoding,
        separator=arguments.separator,
        sheet=arguments.sheet,
        positive=arguments.positive,
        multi_label=arguments.multi_label or None,
        regression=True if arguments.regression else False if arguments.classes else None,
        report=report,
        notice=notice,
    )
