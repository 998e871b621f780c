"""Finetune a pretrained model on a few hundred examples, by agwm and by vanilla finetuning, and compare.

python examples/glue_lowres.py                                              # the defaults: no network
python examples/glue_lowres.py --config configs/demo.yaml
python examples/glue_lowres.py --task stsb --data-dir glue --method vanilla --method agwm --seeds 3
python examples/glue_lowres.py --config configs/paper/glue_lowres.yaml --task rte
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from agwm.config import METHODS, RunConfig, load_config
from agwm.errors import AgwmError, ConfigError, MissingExtraError
from agwm.experiment import run_experiment
from agwm.pictures import draw_alpha, draw_scores
from agwm.records import load_records
from agwm.report import markdown_table, summarize
from agwm.storage import write_text


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _seeds(text: str) -> int | list[int]:
    """Read ``3`` as a number of seeds and ``3,`` or ``3,5`` as seeds."""
    try:
        return [int(part) for part in _list(text)] if "," in text else int(text)
    except ValueError:
        raise ConfigError(
            f"Cannot read --seeds: expected a number of seeds or a list such as 1017,4803, got {text!r}."
            " Correct it."
        ) from None


def _size(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"Cannot read --train-size: expected an integer, got {text!r}.") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage, so that every mistake is one line."""
        raise ConfigError(f"Cannot read the command line: {message}. See --help.")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; every value not given is left to the config."""
    parser = _Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML file laid over configs/default.yaml")
    add("--method", action="append", metavar="NAME", help=f"{', '.join(METHODS)}; may be repeated, or a,b")
    add("--task", metavar="NAME", help="a GLUE task, an embedded one, or a name for own files")
    add("--model", metavar="NAME", help="minilm (extra 'offline'), a folder, or a name on the hub")
    add("--train-size", metavar="N", help="training examples drawn; at least 10")
    add("--seeds", metavar="N", help="how many of the official seeds, or seeds: 1017,4803")
    add("--output-dir", metavar="DIR", help="where records, table and pictures go")
    add("--data-dir", metavar="DIR", help="folder of the official GLUE files")
    add("--train-file", metavar="FILE", help="own training examples: CSV, TSV, JSON or Parquet")
    add("--test-file", metavar="FILE", help="own test examples")
    add("--text-columns", metavar="A[,B]", help="text column(s) of own files")
    add("--label-column", metavar="NAME", help="label column of own files")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, e.g. search.epochs=5")
    add("--override", action="store_true", help="run finished runs again")
    return parser


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """Return the config: file, then flags, then ``--set``.

    Raises:
        ConfigError: If one of them is wrong.
    """
    given = {
        "methods": [name for text in arguments.method for name in _list(text)]
        if arguments.method
        else None,
        "task": arguments.task,
        "model": arguments.model,
        "train_size": None if arguments.train_size is None else _size(arguments.train_size),
        "seeds": None if arguments.seeds is None else _seeds(arguments.seeds),
        "output_dir": arguments.output_dir,
    }
    data = {
        "data_dir": arguments.data_dir,
        "train_file": arguments.train_file,
        "test_file": arguments.test_file,
        "text_columns": None if arguments.text_columns is None else _list(arguments.text_columns),
        "label_column": arguments.label_column,
    }
    delta: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    delta["data"] = {key: value for key, value in data.items() if value is not None}
    return load_config(arguments.config, delta, arguments.set)


def write_pictures(stored: list[dict[str, Any]], present: list[dict[str, Any]], folder: Path) -> list[str]:
    """Draw the scores of all records in the folder, and alpha of those of this call.

    Returns:
        A line for each picture, or one that says how to get them.
    """
    lines: list[str] = []
    try:
        if any(record["scores"]["test"] is not None for record in stored):
            draw_scores(stored, folder / "scores.png")
            lines.append(f"Scores of each seed: {folder / 'scores.png'}")
        if any(r["train_info"]["alpha"] for r in present if r["run_info"]["method"] == "agwm"):
            draw_alpha(present, folder / "alpha.png")
            lines.append(f"Learned alpha of each layer: {folder / 'alpha.png'}")
    except MissingExtraError as error:
        return [str(error)]
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments; None: those of the process.

    Returns:
        The exit code: 0, or 2 when something is wrong with the input.
    """
    try:
        arguments = make_parser().parse_args(argv)
        config = config_of(arguments)
        records = run_experiment(config, arguments.override, report=tqdm.write)
        folder = Path(config.output_dir)
        stored = load_records(folder)
        table = markdown_table(summarize(stored))
        write_text(folder / "table.md", table)
        lines = write_pictures(stored, records, folder)
    except AgwmError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"\n{table}\nTable: {folder / 'table.md'}", *lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
