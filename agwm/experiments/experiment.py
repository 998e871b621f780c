"""An experiment: every method on every seed, one JSON record for each run. Finished runs are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

from tqdm import tqdm

from agwm.experiments.claims import CLAIMS, claim_of, claimed, describe_owner
from agwm.experiments.config import RunConfig
from agwm.experiments.examples import load_examples
from agwm.experiments.kept_models import keep_model, lacking_line, lacks_model
from agwm.experiments.record import Record
from agwm.experiments.records import FOLDER, find_finished, record_path, run_settings
from agwm.experiments.run import check_run, run_one
from agwm.experiments.unfinished_runs import check_unfinished, forget, forget_leftovers
from agwm.files import made_folders, write_json

__all__ = ["describe", "run_experiment"]

Report = Callable[[str], None]


def run_experiment(
    config: RunConfig,
    override: bool = False,
    report: Report | None = None,
    progress: bool | None = None,
    notice: Report | None = None,
) -> list[Record]:
    """Make the runs that have no record yet, and return the records of all runs.

    Mistakes in data, model or settings are found before the first run. A run is finished when its record
    is there, also when it failed: a seed repeats its failure. The record must be of the same settings
    and the same examples. Several processes may share a folder: no run is made twice.

    Args:
        config: The experiment.
        override: Run everything again, replacing records.
        report: Called with one line a run.
        progress: Show bars; None: only on a terminal.
        notice: Called with each line on data and weights, before the first run; the records hold them too.

    Returns:
        One record a seed and method, seed by seed; without those of runs that another process makes.

    Raises:
        AgwmError: If something is wrong with the input; records of earlier runs stay.
    """
    folder = Path(config.output_dir)
    with made_folders(folder, folder / FOLDER, folder / CLAIMS):
        return _run(config, override, report or (lambda line: None), progress, notice)


def _run(
    config: RunConfig,
    override: bool,
    say: Report,
    progress: bool | None,
    notice: Report | None,
) -> list[Record]:
    examples = load_examples(config)
    runs = [(seed, method) for seed in config.seed_list for method in config.methods]
    paths = {run: record_path(config.output_dir, config, run[1], run[0]) for run in runs}
    records: dict[tuple[int, str], Record] = {}
    num_lacking = 0
    for (seed, method), path in paths.items():
        settings = run_settings(config, method, seed)
        record = None if override else find_finished(path, settings, examples.fingerprint)
        if record is not None:
            records[seed, method] = record
            forget_leftovers(path)
            num_lacking += config.save_model and lacks_model(path, record)
    missing = [run for run in runs if run not in records]
    if not override:
        for seed, method in missing:
            check_unfinished(config, method, seed, examples.fingerprint)
    if records:
        say(f"{len(records)} of {len(runs)} runs are finished already.")
    if num_lacking:
        say(lacking_line(num_lacking))
    if missing:
        for line in check_run(config, examples, missing[0][0]):
            if notice is not None:
                notice(line)
    hidden = None if progress is None else not progress
    for seed, method in (bar := tqdm(missing, "runs", unit="run", disable=hidden, dynamic_ncols=True)):
        bar.set_postfix_str(f"{method}, seed {seed}")
        path = paths[seed, method]
        with claimed(claim_of(path)) as is_mine:
            if not is_mine:
                continue
            settings = run_settings(config, method, seed)
            # another command may have made it in the meantime
            record = None if override else find_finished(path, settings, examples.fingerprint)
            if record is None:
                own = replace(config, resume=config.resume and not override)
                record, outcome = run_one(own, method, seed, examples, progress, tell=notice or say)
                if config.save_model and outcome is not None:
                    record = keep_model(outcome, path, record)
                write_json(path, record.to_dict())
                forget(path)
        records[seed, method] = record
        say(f"[{len(records)}/{len(runs)}] {describe(record)}")
    for run, path in paths.items():
        if run not in records:
            say(describe_owner(path))
    with suppress(OSError):
        (Path(config.output_dir) / CLAIMS).rmdir()  # unless another command works here
    return [records[run] for run in runs if run in records]


def describe(record: Record, also: Sequence[str] = ()) -> str:
    """Describe the result of a run in one line.

    Args:
        record: Record of the run.
        also: Names to add to label, task and seed: ``"model"``, ``"train_size"`` or both.
    """
    scores, train = record.scores, record.train_info
    parts = [record.label, record.task]
    parts += [record.model] if "model" in also else []
    parts += [f"n = {record.train_size}"] if "train_size" in also else []
    start = f"{', '.join(parts)}, seed {record.seed}: "
    if train.failure:
        return f"{start}failed: {train.failure}"
    model = f"; model not saved: {train.model_failure}" if train.model_failure else ""
    name = scores.name if scores.test is not None else f"dev {scores.name}"
    score = cast(float, scores.dev if scores.test is None else scores.test)  # a run has one, or a failure
    mark = ", degenerate" if scores.is_degenerate else ""
    return f"{start}{name} {100 * score:.2f}{mark} ({train.total_seconds:.0f} s){model}"
