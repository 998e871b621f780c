"""Runs of all methods on many draws: settings chosen on draws of their own, then compared seed by seed."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed

from agwm.files import read_json, write_json
from outer_data.ground import Ground
from outer_data.methods import METHODS, Settings
from outer_data.table import by_method, table

RECORDS = "runs.json"  # all runs of a table
TUNING = (101, 102)  # draws on which the settings are chosen, by the score on dev rows
MakeGround = Callable[[argparse.Namespace, int], Ground]


def flags(description: str | None) -> argparse.ArgumentParser:
    """Return the command line that the examples share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks-dir", required=True, help="folder of uci-yelp, uci-imdb, banking77 ...")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--outer", type=int, help="number of outer examples")
    parser.add_argument("--methods", default=",".join(METHODS), help="names with commas")
    parser.add_argument("--epochs", type=int, default=4, help="passes over the inner examples")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output-dir", required=True)
    parser.add_argument(
        "--tuned", help="folder of other runs of this example whose chosen settings are taken"
    )
    parser.add_argument("--table", action="store_true", help="make no run, print what is there")
    return parser


@dataclasses.dataclass(frozen=True)
class Run:
    """A method with settings, on a draw."""

    method: str
    settings: Settings
    seed: int

    @property
    def path(self) -> str:
        """Name of the file of its record."""
        text = json.dumps(dataclasses.asdict(self.settings), sort_keys=True)
        return f"{self.method}-{hashlib.sha256(text.encode()).hexdigest()[:8]}-{self.seed}.json"


def _sharing(runs: Iterable[Run]) -> list[list[Run]]:
    """Put runs together that begin with the same training."""
    found: dict[Any, list[Run]] = {}
    for run in runs:
        found.setdefault((run.seed, METHODS[run.method].training(run.settings)), []).append(run)
    return list(found.values())


def _make(make: MakeGround, given: argparse.Namespace, runs: list[Run]) -> None:
    """Make the runs of one training whose records are not there."""
    folder = Path(given.output_dir)
    runs = [run for run in runs if not (folder / run.path).is_file()]
    if not runs:
        return
    torch.set_num_threads(max(1, torch.get_num_threads() // given.jobs))
    train, settings = METHODS[runs[0].method].training(runs[0].settings)
    ground = make(given, runs[0].seed)
    start = time.perf_counter()
    tuned = train(ground, settings, runs[0].seed).state_dict()
    trained = time.perf_counter() - start
    for run in runs:
        start = time.perf_counter()
        model = METHODS[run.method].then(ground, tuned, run.settings, run.seed)
        record = {
            **dataclasses.asdict(run),
            "dev": ground.score(model, "dev"),
            "seconds": round(trained + time.perf_counter() - start, 1),
            "outer": len(ground.outer),
            "inner": len(ground.inner),
            "card": torch.cuda.get_device_name() if given.device.startswith("cuda") else None,
        }
        if run.seed not in TUNING:
            record["test"] = ground.score(model, "test")
        write_json(folder / run.path, record)


def _chosen(given: argparse.Namespace, method: str) -> Settings:
    """Return the settings of the best mean score on the dev rows of the draws for tuning."""
    folder = Path(given.tuned or given.output_dir)

    def mean(settings: Settings) -> float:
        scores = [_read(folder, Run(method, settings, seed))["dev"] for seed in TUNING]
        return sum(sum(score.values()) / len(score) for score in scores) / len(scores)

    return max(_settings(given, method), key=mean)


def _read(folder: Path, run: Run) -> dict[str, Any]:
    if not (folder / run.path).is_file():
        raise SystemExit(f"A run is missing: expected {folder / run.path}. Make it without --table first.")
    return read_json(folder / run.path)


def _settings(given: argparse.Namespace, method: str) -> list[Settings]:
    return [dataclasses.replace(one, epochs=given.epochs) for one in METHODS[method].settings]


def main(make: MakeGround, parser: argparse.ArgumentParser) -> None:
    """Make the runs that are missing, and print the table."""
    given = parser.parse_args()
    names = given.methods.split(",")
    if unknown := sorted(set(names) - set(METHODS)):
        parser.error(f"--methods: expected some of {', '.join(METHODS)}, got {', '.join(unknown)}.")
    folder, seeds = Path(given.output_dir), range(1, given.seeds + 1)
    folder.mkdir(parents=True, exist_ok=True)
    pool = Parallel(n_jobs=given.jobs, verbose=0 if given.table else 5)

    def finish(runs: list[Run]) -> None:
        if not given.table:
            pool(delayed(make)(given, seed) for seed in {run.seed for run in runs})  # what they share
            pool(delayed(_make)(make, given, shared) for shared in _sharing(runs))

    tried = [Run(name, one, seed) for seed in TUNING for name in names for one in _settings(given, name)]
    if given.tuned:
        tried = []
    finish(tried)
    chosen = {name: _chosen(given, name) for name in names}
    compared = [Run(name, chosen[name], seed) for name in names for seed in seeds]
    finish(sorted(compared, key=lambda run: run.seed))  # a seed of all methods before the next
    records = [_read(folder, run) for run in (*tried, *compared)]
    write_json(folder / RECORDS, records)
    text = table(by_method(records))
    (folder / "table.md").write_text(text, encoding="utf-8")
    print(text)
