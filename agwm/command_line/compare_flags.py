"""Compare methods of finetuning: vanilla, agwm and its rivals, on the same examples and seeds.

agwm compare                                              # the defaults: no network
agwm compare --config demo
agwm compare --task stsb --data-dir glue --method vanilla --method agwm --seeds 3 --lr 1e-4 --epochs 10
agwm compare --config paper/glue_lowres --task rte
agwm compare --grid grids/minilm --data-dir glue --jobs 2                  # many runs at once
agwm compare --tune --data-dir glue                                        # settings by dev score
"""

from __future__ import annotations

import argparse

from agwm.errors import ConfigError

__all__ = ["add_flags", "check_alone", "run"]

_TUNING = "grids/tuning.yaml"
_GRID_FLAGS = ("jobs", "backend", "threads", "retry_failed", "dry_run", "seconds_per_pass", "local_model")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to its parser; every value not given is left to the config."""
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML file laid over the defaults; or one of the package: demo")
    add("--method", action="append", metavar="NAME", help="such as vanilla,lora,agwm; may be repeated")
    add("--task", metavar="NAME", help="a GLUE task, an embedded one, or a name for own files (own)")
    models = "minilm, mpnet, smollm2, rxnmapper, rxnfp (docs/models.md)"
    add("--model", metavar="NAME", help=f"{models}, a folder, or a name on the hub")
    add("--train-size", metavar="N", help="examples to train on, at least 10; or all, or whole")
    add("--seeds", metavar="N", help="how many of the official seeds, or seeds: 1017,4803")
    add("--lr", metavar="X", help="learning rate of vanilla, and of both stages of agwm")
    add("--epochs", metavar="N", help="passes over the training set, of the same")
    add("--max-length", metavar="N", help="tokens of an example; longer ones are cut")
    add("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 ...")
    add("--output-dir", metavar="DIR", help="where records, table and pictures go")
    add("--data-dir", metavar="DIR", help="folder of the official GLUE files")
    add("--train-file", metavar="FILE", help="own training examples: CSV, TSV, JSON, Parquet or Excel")
    add("--test-file", metavar="FILE", help="own test examples")
    add("--text-columns", metavar="A[,B]", help="text column(s) of own files")
    add("--label-column", metavar="NAME", help="label column of own files")
    add("--encoding", metavar="NAME", help="encoding of own files, e.g. latin-1 (default: UTF-8)")
    add("--separator", metavar="MARK", help="mark between the cells of own CSV files (default: found)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, e.g. search.epochs=5")
    add("--override", action="store_true", help="run finished runs again")
    add(
        "--no-resume",
        action="store_true",
        help="start runs that were stopped anew, not at their checkpoints",
    )
    several = parser.add_argument_group("several at once; flags above that name cells choose a part")
    add = several.add_argument
    add("--grid", metavar="FILE", help="YAML file of methods x tasks x sizes x seeds x models")
    add("--tune", metavar="FILE", nargs="?", const=_TUNING, help="choose settings by dev score")
    add("--jobs", metavar="N", default="1", help="workers at once; 0: run in this process (default: 1)")
    add(
        "--backend",
        metavar="NAME",
        default="threading",
        help="threading, or ray for several machines (default: threading)",
    )
    add("--threads", metavar="N", default="1", help="torch threads of a worker (default: 1)")
    add("--retry-failed", action="store_true", help="run failed runs again")
    add("--dry-run", action="store_true", help="print cells, passes and estimated time, and stop")
    add(
        "--local-model",
        action="append",
        metavar="NAME=DIR",
        help="a model of the grid, and the folder of its files on this machine; may be repeated",
    )
    add("--seconds-per-pass", metavar="S", help="of a batch on your device, for the estimate")


def check_alone(arguments: argparse.Namespace) -> None:
    """Raise unless the files that flags name, and the flags beside them, belong together.

    Raises:
        ConfigError: If there are two files, or a flag that only grids have and that would be passed over.
    """
    if sum(value is not None for value in (arguments.grid, arguments.tune, arguments.config)) > 1:
        raise ConfigError("Two files: expected one of --config, --grid and --tune, got more. Choose one.")
    if arguments.tune is not None and arguments.lr is not None:
        raise ConfigError(
            "Flag --lr is not of --tune: expected the learning rates of its file, between which the choice"
            " is, got one for all. Leave it out, or change the file."
        )
    if arguments.grid is not None or arguments.tune is not None:
        return
    parser = argparse.ArgumentParser(add_help=False)
    add_flags(parser)
    for name in _GRID_FLAGS:
        if getattr(arguments, name) != parser.get_default(name):
            flag = "--" + name.replace("_", "-")
            raise ConfigError(
                f"Flag {flag} is of grids alone: expected --grid or --tune beside it, got neither."
                " Add one, or leave it out."
            )


def run(arguments: argparse.Namespace) -> None:
    """Do what the flags say, and print what came out.

    Raises:
        AgwmError: If something is wrong with the input.
    """
    check_alone(arguments)

    from agwm.command_line.compare import run_all  # late: it imports PyTorch

    run_all(arguments)
