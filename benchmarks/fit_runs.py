"""Three runs of ``agwm fit`` as a user makes them, with all that the terminal shows, and the wall time.

python -m benchmarks.fit_runs --data-dir GLUE --tasks-dir TASKS --output-dir docs/results/fit

``sst2`` and ``stsb`` are 300 rows of GLUE's training files, with the validation file as ``--test``.
``messages`` are 300 questions of a bank's customers (Banking77), whose intents belong to four teams of
unequal size, without a test file: 1,000 others are answered by ``agwm predict`` afterwards. A run that has
its files is not made again. Nothing else should run on the machine: the time is told.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agwm.data import Task, load_task
from agwm.data.quiet import quiet_datasets
from agwm.evaluation.intervals import score_interval
from agwm.evaluation.scores import score
from agwm.files import make_folder, read_json, write_json, write_text

SEED, ROWS, NEW_ROWS = 7, 300, 1000
TEAMS = {"card": 140, "transfer": 80, "top-up": 50, "account": 30}  # rows of each
_TEAM_OF = {"top_up": "top-up", "topping_up": "top-up", "transfer": "transfer", "card": "card"}
_OF_ACCOUNT = ("identity", "personal_details", "terminate_account", "passcode", "age_limit")


@dataclass(frozen=True)
class Run:
    """One run of the command.

    Attributes:
        name: Its name.
        files: Name of a file -> its rows.
        flags: Flags of ``agwm fit`` beside the file.
        new_rows: Rows that ``agwm predict`` answers afterwards; None: ``--test`` has told already.
    """

    name: str
    files: dict[str, pd.DataFrame]
    flags: list[str]
    new_rows: pd.DataFrame | None = None


def glue_run(task: str, data_dir: str) -> Run:
    """Return the run of a GLUE task."""
    with quiet_datasets():
        data = load_task(task, data_dir)
        parts = {"train.csv": data.train.shuffle(seed=SEED).select(range(ROWS)), "test.csv": data.test}
    columns, names = [*data.task.text_columns, "label"], data.task.label_names
    files = {name: part.to_pandas()[columns] for name, part in parts.items()}
    if names is not None:
        for frame in files.values():
            frame["label"] = [names[index] for index in frame["label"]]
    flags = ["--text", ",".join(columns[:-1]), "--label", "label", "--test", "test.csv"]
    return Run(task, files, flags if names is not None else [*flags, "--regression"])


def messages_run(tasks_dir: str) -> Run:
    """Return the run on questions of a bank's customers."""
    draw = np.random.default_rng(SEED)
    kinds = [_teams(Path(tasks_dir) / "banking77" / f"{part}.tsv") for part in ("train", "test")]
    train = [
        kinds[0][kinds[0]["team"] == team].sample(count, random_state=draw) for team, count in TEAMS.items()
    ]
    new = [
        kinds[1][kinds[1]["team"] == team].sample(round(NEW_ROWS * count / ROWS), random_state=draw)
        for team, count in TEAMS.items()
    ]
    flags = ["--text", "message", "--label", "team"]
    frames = [pd.concat(part).sample(frac=1, random_state=draw) for part in (train, new)]
    return Run("messages", {"train.csv": frames[0]}, flags, new_rows=frames[1])


def _teams(path: Path) -> pd.DataFrame:
    """Read questions and the team of each; those of no team are left out."""
    frame = pd.read_csv(path, sep="\t", quoting=3)
    teams = frame["label"].map(_team)
    return pd.DataFrame({"message": frame["text"], "team": teams}).dropna().reset_index(drop=True)


def _team(intent: str) -> str | None:
    if any(part in intent for part in _OF_ACCOUNT):
        return "account"
    return next((team for part, team in _TEAM_OF.items() if part in intent), None)


def make(run: Run) -> tuple[str, dict[str, Any]]:
    """Make a run in a folder of its own; return what the terminal showed, and the facts of the run."""
    with tempfile.TemporaryDirectory() as folder:
        for name, frame in run.files.items():
            frame.to_csv(Path(folder) / name, index=False)
        line = ["agwm", "fit", "train.csv", *run.flags, "--output-dir", "model"]
        start = time.perf_counter()
        shown = _call(line, folder)
        wall = time.perf_counter() - start
        record = read_json(Path(folder) / "model" / "fit.json")
        new = record["test"]
        if run.new_rows is not None:
            new = _answered(run.new_rows, record, folder)
    row = next(row for row in record["table"] if row["name"] == record["chosen"])
    facts = {
        "name": run.name,
        "command": " ".join(line),
        "wall": round(wall),
        "chosen": record["chosen"],
        "metric": record["metric"],
        "cross_validation": [row[key] for key in ("score", "low", "high")],
        "new_rows": {key: new[key] for key in ("score", "low", "high")} | {"count": len(new["labels"])},
        "conclusion": record["conclusion"],
        "seconds": record["seconds"],
        "candidates": {
            row["name"]: [row["score"], row["verdict"], row["seconds"]] for row in record["table"]
        },
        "versions": record["versions"],
    }
    return f"$ {' '.join(line)}\n{shown}", facts


def _call(line: list[str], folder: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def _answered(rows: pd.DataFrame, record: dict[str, Any], folder: str) -> dict[str, Any]:
    """Let ``agwm predict`` answer rows whose labels it does not see, and score them."""
    rows[["message"]].to_csv(Path(folder) / "new.csv", index=False)
    _call(["agwm", "predict", "model", "new.csv", "-o", "answers.csv"], folder)
    names = record["label_names"]
    answers = pd.read_csv(Path(folder) / "answers.csv")
    outputs = answers[[f"p({name})" for name in names]].to_numpy()
    task = Task("messages", ("sentence1",), tuple(names))
    labels = np.array([names.index(team) for team in rows["team"]])
    low, high = score_interval(record["metric"], outputs, labels, task=task)
    value = score(record["metric"], outputs, labels, task)
    return {"score": value, "low": low, "high": high, "labels": labels.tolist()}


def runs(data_dir: str, tasks_dir: str) -> Iterator[Run]:
    """Yield the three runs."""
    for task in ("sst2", "stsb"):
        yield glue_run(task, data_dir)
    yield messages_run(tasks_dir)


def main() -> None:
    """Make the runs that are missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for flag in ("--data-dir", "--tasks-dir", "--output-dir"):
        parser.add_argument(flag, required=True)
    given = parser.parse_args()
    folder = make_folder(given.output_dir)
    for run in runs(given.data_dir, given.tasks_dir):
        if (folder / f"{run.name}.json").is_file():
            continue
        shown, facts = make(run)
        write_text(folder / f"{run.name}.txt", shown)
        write_json(folder / f"{run.name}.json", facts)
        print(shown)


if __name__ == "__main__":
    main()
