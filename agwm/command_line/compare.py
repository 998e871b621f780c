"""Runs of a comparison: one experiment, a grid, or candidates for tuning."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from agwm.command_line.compare_settings import (
    assignments_of,
    config_of,
    delta_of,
    methods_of,
    notes_of,
    part_of,
    places_of,
)
from agwm.command_line.flags import read_number, read_seeds
from agwm.command_line.guard import notice, report, write_lines
from agwm.configs.packaged import config_file
from agwm.errors import ConfigError
from agwm.experiments.claims import describe_owner
from agwm.experiments.config import RunConfig
from agwm.experiments.experiment import run_experiment
from agwm.experiments.grid.candidates import choose, finished_records, tuned_yaml, tuning_table
from agwm.experiments.grid.cells import Cell, load_grid
from agwm.experiments.grid.execution import GridResult, run_grid
from agwm.experiments.grid.local_models import local_models
from agwm.experiments.grid.plan import pass_times, plan_rows, plan_summary, plan_table
from agwm.experiments.grid.planned_runs import check_folder, check_planned
from agwm.experiments.grid.tuning import load_tuning
from agwm.experiments.grid.work import Work
from agwm.experiments.refusals import read_refusals
from agwm.experiments.reporting.overview import write_overview
from agwm.files import make_folder, write_text

__all__ = ["run_all"]


def run_all(arguments: argparse.Namespace) -> None:
    """Run what the flags name, and print the table of what came out.

    Args:
        arguments: Those of :mod:`agwm.command_line.compare_flags`.

    Raises:
        AgwmError: If something is wrong with the input.
    """
    arguments.has_failed = False
    if arguments.tune is not None:
        _tune(arguments)
        return
    if arguments.grid is not None:
        seeds = None if arguments.seeds is None else read_seeds(arguments.seeds)
        path, given = config_file(arguments.grid), assignments_of(arguments)
        grid = load_grid(path, delta_of(arguments), given, seeds)
        cells = local_models(part_of(arguments, grid.cells, methods_of(arguments)), arguments.local_model)
        result = _run_cells(arguments, cells, grid.seconds_per_pass, scores_test=True)
        if result is None or not result.records:
            return
        folder, records = Path(cells[0].config.output_dir), result.records
    else:
        config = config_of(arguments)
        arguments.output_dir = config.output_dir
        cells = [Cell(name, name, seed, config) for seed in config.seed_list for name in config.methods]
        check_planned(Work(cells, override=arguments.override))
        _say(arguments, cells)
        records = run_experiment(config, arguments.override, report=report, notice=notice)
        if not records:
            return
        folder = Path(config.output_dir)
    arguments.has_failed |= any(record.failure is not None for record in records)
    table, lines = write_overview(folder, records)
    write_lines(f"\n{table}", *lines)


def _say(arguments: argparse.Namespace, cells: list[Cell]) -> None:
    for line in notes_of(arguments, cells):
        notice(line)


def _run_cells(
    arguments: argparse.Namespace, cells: list[Cell], assumed: Mapping[str, float], scores_test: bool
) -> GridResult | None:
    """Print the plan, and run it unless only that is asked for.

    Returns:
        What became of the cells, or None after ``--dry-run``.
    """
    given = arguments.seconds_per_pass
    seconds = None if given is None else read_number("--seconds-per-pass", given, float)
    work = Work(
        cells,
        jobs=read_number("--jobs", arguments.jobs),
        backend=arguments.backend,
        threads=read_number("--threads", arguments.threads),
        override=arguments.override,
        retry_failed=arguments.retry_failed,
        scores_test=scores_test,
    )
    if arguments.dry_run:
        check_folder(cells)
    else:
        check_planned(work)
    _say(arguments, cells)
    rows = plan_rows(work)
    times = pass_times(rows, cells, assumed, seconds)
    if arguments.dry_run:
        write_lines(plan_table(rows, times))
    report(plan_summary(rows, times, work.jobs))
    if arguments.dry_run:
        return None
    result = run_grid(work, report, notice=notice)
    write_lines(
        f"{len(result.records)} runs have ended, {result.num_failed} of them failed and"
        f" {result.num_degenerate} degenerate; {len(result.refused)} refusals;"
        f" {len(result.elsewhere)} cells left to other processes, {len(result.lost)} to be run again.",
        *(describe_owner(cell.path) for cell in result.elsewhere),
        *(f"no record of {path.stem}: {line}" for path, line in result.lost.items()),
        *(["The same command runs what has no record."] if result.lost else []),
    )
    arguments.has_failed |= bool(result.num_failed or result.lost)
    return result


def _tune(arguments: argparse.Namespace) -> None:
    """Run all candidates, and write the table and the choice of those of which all runs have ended.

    Raises:
        ConfigError: If a flag is wrong.
    """
    delta = delta_of(arguments)
    folder = Path(delta.get("output_dir", RunConfig().output_dir))
    delta["output_dir"] = str(folder / "tuning")
    if any(text.partition("=")[0].strip() == "output_dir" for text in arguments.set):
        raise ConfigError("Wrong --set output_dir with --tune: expected a flag. Pass --output-dir.")
    seeds = None if arguments.seeds is None else read_seeds(arguments.seeds)
    tuning = load_tuning(config_file(arguments.tune), delta, assignments_of(arguments), seeds)
    # The choice is made of all records of these tasks, whatever labels are run now.
    tuning = dataclasses.replace(tuning, cells=part_of(arguments, tuning.cells, None))
    labels = methods_of(arguments)
    every = dict.fromkeys(cell.label for cell in tuning.cells)
    if labels is not None:  # a label stands for all of its candidates
        labels = [c for name in labels for c in every if c.rpartition(".")[0] == name] or labels
    cells = local_models(part_of(arguments, tuning.cells, labels), arguments.local_model)
    if tuning.seeds_of_report:
        write_lines(f"Seeds {tuning.seeds_of_report} are among those of the report.")
    if _run_cells(arguments, cells, tuning.seconds_per_pass, scores_test=False) is None:
        return
    tuning = dataclasses.replace(tuning, cells=local_models(tuning.cells, arguments.local_model))
    refused = read_refusals(delta["output_dir"])
    chosen, candidates = choose(tuning, finished_records(tuning.cells), refused)
    table = tuning_table(chosen, candidates)
    part = [text for text in (*places_of(arguments), arguments.model) if text is not None]
    end = "".join(f"--{Path(text).name}" for text in part)
    write_text(make_folder(folder) / f"tuning{end}.md", table)
    write_text(folder / f"tuned{end}.yaml", tuned_yaml(chosen))
    write_lines(
        f"\n{table}",
        f"Table: {folder / f'tuning{end}.md'}",
        f"Chosen settings: {folder / f'tuned{end}.yaml'}",
    )
