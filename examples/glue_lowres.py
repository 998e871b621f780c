"""Finetune a pretrained model on a few hundred examples, by agwm and by vanilla finetuning, and compare.

python examples/glue_lowres.py                                              # the defaults: no network
python examples/glue_lowres.py --config agwm/configs/demo.yaml
python examples/glue_lowres.py --task stsb --data-dir glue --method vanilla --method agwm --seeds 3
python examples/glue_lowres.py --config agwm/configs/paper/glue_lowres.yaml --task rte
python examples/glue_lowres.py --grid agwm/configs/grids/minilm.yaml --data-dir glue --jobs 2  # many
python examples/glue_lowres.py --tune --data-dir glue                            # settings by dev score
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agwm.configs.packaged import FOLDER, config_file
from agwm.errors import ConfigError
from agwm.experiments.command import notice, report, run_command
from agwm.experiments.config import RunConfig, load_config
from agwm.experiments.experiment import run_experiment
from agwm.experiments.flags import Parser, read_list, read_number, read_seeds, read_size
from agwm.experiments.grid.backends import BACKENDS, check_workers
from agwm.experiments.grid.candidates import choose, finished_records, tuned_yaml, tuning_table
from agwm.experiments.grid.cells import Cell, load_grid, select_cells
from agwm.experiments.grid.execution import GridResult, describe_owners, run_grid
from agwm.experiments.grid.local_models import local_models
from agwm.experiments.grid.plan import pass_times, plan_rows, plan_summary, plan_table
from agwm.experiments.grid.planned_runs import check_folder, check_planned
from agwm.experiments.grid.tuning import load_tuning
from agwm.experiments.grid.worker import Stores
from agwm.experiments.refusals import read_refusals
from agwm.experiments.reporting.overview import write_overview
from agwm.files import make_folder, write_text
from agwm.methods import METHODS

TUNING = FOLDER / "grids" / "tuning.yaml"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; every value not given is left to the config."""
    parser = Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML file laid over agwm/configs/default.yaml")
    add("--method", action="append", metavar="NAME", help=f"{', '.join(METHODS)}; may be repeated, or a,b")
    add("--task", metavar="NAME", help="a GLUE task, an embedded one, or a name for own files (own)")
    add("--model", metavar="NAME", help="minilm (extra 'offline'), a folder, or a name on the hub")
    add("--train-size", metavar="N", help="examples to train on, at least 10; or all, or whole")
    add("--seeds", metavar="N", help="how many of the official seeds, or seeds: 1017,4803")
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
    several = parser.add_argument_group("several at once; flags above that name cells choose a part")
    add = several.add_argument
    add("--grid", metavar="FILE", help="YAML file of methods x tasks x sizes x seeds x models")
    add("--tune", metavar="FILE", nargs="?", const=str(TUNING), help="choose settings by dev score")
    add("--jobs", metavar="N", default="1", help="workers at once; 0: run in this process (default: 1)")
    add(
        "--backend", metavar="NAME", default="threading", help=f"{', '.join(BACKENDS)} (default: threading)"
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
    return parser


def _methods(arguments: argparse.Namespace) -> list[str] | None:
    return [name for text in arguments.method for name in read_list(text)] if arguments.method else None


def _check_several(arguments: argparse.Namespace) -> None:
    """Raise where a flag is given that only grids have, and would be passed over in silence."""
    parser = make_parser()
    for name in (
        "jobs",
        "backend",
        "threads",
        "retry_failed",
        "dry_run",
        "seconds_per_pass",
        "local_model",
    ):
        if getattr(arguments, name) != parser.get_default(name):
            flag = "--" + name.replace("_", "-")
            raise ConfigError(
                f"Flag {flag} is of grids alone: expected --grid or --tune beside it, got neither."
                " Add one, or leave it out."
            )


def delta_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the flags that name no cell lay over a file.

    Raises:
        ConfigError: If one of them is wrong.
    """
    data = {
        "data_dir": arguments.data_dir,
        "train_file": arguments.train_file,
        "test_file": arguments.test_file,
        "text_columns": None if arguments.text_columns is None else read_list(arguments.text_columns),
        "label_column": arguments.label_column,
        "encoding": arguments.encoding,
        "separator": arguments.separator,
    }
    delta: dict[str, Any] = {"data": {key: value for key, value in data.items() if value is not None}}
    if arguments.output_dir is not None:
        delta["output_dir"] = arguments.output_dir
    if arguments.train_file is not None:  # these do not choose cells then, they name the files
        if arguments.task is not None:
            delta["task"] = arguments.task
        if arguments.train_size is not None:
            delta["train_size"] = read_size(arguments.train_size)
    return delta


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """Return the config: file, then flags, then ``--set``.

    Raises:
        ConfigError: If one of them is wrong.
    """
    size = arguments.train_size
    given = {
        "methods": _methods(arguments),
        "task": arguments.task,
        "model": arguments.model,
        "train_size": None if size is None else read_size(size),
        "seeds": None if arguments.seeds is None else read_seeds(arguments.seeds),
    }
    delta = {key: value for key, value in given.items() if value is not None}
    config = None if arguments.config is None else config_file(arguments.config)
    return load_config(config, {**delta, **delta_of(arguments)}, arguments.set)


def _places(arguments: argparse.Namespace) -> tuple[str | None, str | None]:
    """Return task and size by which cells are chosen; beside own files the flags name those instead."""
    return (None, None) if arguments.train_file is not None else (arguments.task, arguments.train_size)


def _part(arguments: argparse.Namespace, cells: list[Cell], labels: list[str] | None) -> list[Cell]:
    """Return the cells of these labels, and of the tasks, sizes and models that the flags name."""
    task, size = _places(arguments)
    return select_cells(
        cells,
        label=labels,
        task=None if task is None else read_list(task),
        model=None if arguments.model is None else [arguments.model],
        train_size=None if size is None else [read_size(size)],
    )


def run_cells(
    arguments: argparse.Namespace, cells: list[Cell], assumed: Mapping[str, float], scores_test: bool
) -> GridResult | None:
    """Print the plan, and run it unless only that is asked for.

    Returns:
        What became of the cells, or None after ``--dry-run``.
    """
    given = arguments.seconds_per_pass
    seconds = None if given is None else read_number("--seconds-per-pass", given, float)
    jobs, threads = read_number("--jobs", arguments.jobs), read_number("--threads", arguments.threads)
    check_workers(jobs, arguments.backend, threads)
    stores = Stores()
    if arguments.dry_run:
        check_folder(cells[0].config.output_dir)
    else:
        check_planned(cells, arguments.override, scores_test, stores)
    rows = plan_rows(cells, scores_test, arguments.override, arguments.retry_failed)
    times = pass_times(rows, cells[0].config.output_dir, assumed, seconds)
    if arguments.dry_run:
        print(plan_table(rows, times))
    report(plan_summary(rows, times, jobs))
    if arguments.dry_run:
        return None
    result = run_grid(
        cells,
        jobs=jobs,
        backend=arguments.backend,
        threads=threads,
        override=arguments.override,
        retry_failed=arguments.retry_failed,
        scores_test=scores_test,
        report=report,
        notice=notice,
        stores=stores,
    )
    print(
        f"{len(result.records)} runs have ended, {result.num_failed} of them failed and"
        f" {result.num_degenerate} degenerate; {len(result.refused)} refusals;"
        f" {len(result.elsewhere)} cells left to other processes.",
        *describe_owners(result.elsewhere),
        sep="\n",
    )
    return result


def tune(arguments: argparse.Namespace) -> None:
    """Run all candidates, and write the table and the choice of those of which all runs have ended."""
    delta = delta_of(arguments)
    folder = Path(delta.get("output_dir", RunConfig().output_dir))
    delta["output_dir"] = str(folder / "tuning")
    if any(text.partition("=")[0].strip() == "output_dir" for text in arguments.set):
        raise ConfigError("Wrong --set output_dir with --tune: expected a flag. Pass --output-dir.")
    seeds = None if arguments.seeds is None else read_seeds(arguments.seeds)
    tuning = load_tuning(config_file(arguments.tune), delta, arguments.set, seeds)
    # The choice is made of all records of these tasks, whatever labels are run now.
    tuning = dataclasses.replace(tuning, cells=_part(arguments, tuning.cells, None))
    labels = _methods(arguments)
    every = dict.fromkeys(cell.label for cell in tuning.cells)
    if labels is not None:  # a label stands for all of its candidates
        labels = [c for name in labels for c in every if c.rpartition(".")[0] == name] or labels
    cells = local_models(_part(arguments, tuning.cells, labels), arguments.local_model)
    if tuning.seeds_of_report:
        print(f"Seeds {tuning.seeds_of_report} are among those of the report.")
    if run_cells(arguments, cells, {}, scores_test=False) is None:
        return
    tuning = dataclasses.replace(tuning, cells=local_models(tuning.cells, arguments.local_model))
    refused = read_refusals(delta["output_dir"])
    chosen, candidates = choose(tuning, finished_records(tuning.cells), refused)
    table = tuning_table(chosen, candidates)
    part = [text for text in (*_places(arguments), arguments.model) if text is not None]
    end = "".join(f"--{Path(text).name}" for text in part)
    write_text(make_folder(folder) / f"tuning{end}.md", table)
    write_text(folder / f"tuned{end}.yaml", tuned_yaml(chosen))
    print(f"\n{table}\nTable: {folder / f'tuning{end}.md'}\nChosen settings: {folder / f'tuned{end}.yaml'}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments; None: those of the process.

    Returns:
        The exit code of :func:`agwm.experiments.command.guarded`.
    """
    return run_command(run, make_parser(), argv)


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line says, and print what came out.

    Raises:
        AgwmError: If something is wrong with the input.
    """
    if sum(value is not None for value in (arguments.grid, arguments.tune, arguments.config)) > 1:
        raise ConfigError("Two files: expected one of --config, --grid and --tune, got more. Choose one.")
    if arguments.grid is None and arguments.tune is None:
        _check_several(arguments)
    if arguments.tune is not None:
        tune(arguments)
        return
    if arguments.grid is not None:
        seeds = None if arguments.seeds is None else read_seeds(arguments.seeds)
        grid = load_grid(config_file(arguments.grid), delta_of(arguments), arguments.set, seeds)
        cells = local_models(_part(arguments, grid.cells, _methods(arguments)), arguments.local_model)
        result = run_cells(arguments, cells, grid.seconds_per_pass, scores_test=True)
        if result is None or not result.records:
            return
        folder, records = Path(cells[0].config.output_dir), result.records
    else:
        config = config_of(arguments)
        arguments.output_dir = config.output_dir
        cells = [Cell(name, name, seed, config) for seed in config.seed_list for name in config.methods]
        check_planned(cells, arguments.override)
        records = run_experiment(config, arguments.override, report=report, notice=notice)
        folder = Path(config.output_dir)
    table, lines = write_overview(folder, records)
    print(f"\n{table}", *lines, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
