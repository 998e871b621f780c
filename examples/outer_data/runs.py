"""Runs of all methods on many draws: settings chosen on draws of their own, then compared seed by seed."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed

from agwm.files import write_json
from outer_data.ground import Ground
from outer_data.methods import METHODS, Settings
from outer_data.table import table

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
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output-dir", required=True)
    parser.add_argument("--table", action="store_true", help="make no run, print what is there")
    return parser


def _run(make: MakeGround, given: argparse.Namespace, method: str, settings: Settings, seed: int) -> None:
    """Make a run unless its file is there."""
    path = _path(given, method, settings, seed)
    if path.is_file():
        return
    torch.set_num_threads(max(1, torch.get_num_threads() // given.jobs))
    ground = make(given, seed)
    start = time.perf_counter()
    model = METHODS[method][0](ground, settings, seed)
    seconds = time.perf_counter() - start
    record = {
        "method": method,
        "settings": dataclasses.asdict(settings),
        "seed": seed,
        "dev": ground.score(model, "dev"),
        "seconds": round(seconds, 1),
        "outer": len(ground.outer),
        "inner": len(ground.inner),
        "card": torch.cuda.get_device_name() if given.device.startswith("cuda") else None,
    }
    if seed not in TUNING:
        record["test"] = ground.score(model, "test")
    write_json(path, record)


def _path(given: argparse.Namespace, method: str, settings: Settings, seed: int) -> Path:
    text = json.dumps(dataclasses.asdict(settings), sort_keys=True)
    return Path(given.output_dir) / f"{method}-{hashlib.sha256(text.encode()).hexdigest()[:8]}-{seed}.json"


def _read(given: argparse.Namespace, method: str, settings: Settings, seed: int) -> dict[str, Any]:
    return json.loads(_path(given, method, settings, seed).read_text(encoding="utf-8"))


def _chosen(given: argparse.Namespace, method: str) -> Settings:
    """Return the settings of the best mean score on the dev rows of the draws for tuning."""

    def mean(settings: Settings) -> float:
        scores = [_read(given, method, settings, seed)["dev"] for seed in TUNING]
        return sum(sum(score.values()) / len(score) for score in scores) / len(scores)

    return max(_settings(given, method), key=mean)


def _settings(given: argparse.Namespace, method: str) -> list[Settings]:
    return [dataclasses.replace(one, epochs=given.epochs) for one in METHODS[method][1]]


def main(make: MakeGround, parser: argparse.ArgumentParser) -> None:
    """Make the runs that are missing, and print the table."""
    given = parser.parse_args()
    names = given.methods.split(",")
    Path(given.output_dir).mkdir(parents=True, exist_ok=True)
    pool = Parallel(n_jobs=given.jobs, verbose=0 if given.table else 5)
    if not given.table:
        pool(
            delayed(make)(given, seed) for seed in (*TUNING, *range(1, given.seeds + 1))
        )  # what they share
        pool(
            delayed(_run)(make, given, name, settings, seed)
            for seed in TUNING
            for name in names
            for settings in _settings(given, name)
        )
    chosen = {name: _chosen(given, name) for name in names}
    seeds = range(1, given.seeds + 1)
    if not given.table:
        pool(delayed(_run)(make, given, name, chosen[name], seed) for seed in seeds for name in names)
    records = {name: [_read(given, name, chosen[name], seed) for seed in seeds] for name in names}
    text = table(records)
    (Path(given.output_dir) / "table.md").write_text(text, encoding="utf-8")
    print(text)
