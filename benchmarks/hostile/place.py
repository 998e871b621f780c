"""A folder of valid inputs: data files, models, records, and what real runs leave that were stopped."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from unittest import mock

import yaml

from agwm.cards import CardFacts
from agwm.command_line.main import main
from agwm.methods.plain_checkpoint import write_plain
from agwm.prediction import SavedTask, write_task_file
from agwm.testing import pretrained
from agwm.testing.tokens import WORDS
from benchmarks.hostile.judgement import Began

__all__ = ["FIT", "RUN", "SETTINGS", "make_place", "rows"]

FILES = ("train.csv", "test.csv", "new.csv")
_STAGE = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3}
SETTINGS = {
    "methods": ["vanilla"],
    "model": "tiny",
    "train_size": 20,
    "seeds": [5],
    "max_length": 16,
    "device": "cpu",
    "output_dir": "out",
    "checkpoint_step": 1,
    "data": {
        "train_file": "train.csv",
        "test_file": "test.csv",
        "text_columns": ["text"],
        "label_column": "label",
    },
    "vanilla": _STAGE,
    "search": _STAGE,
    "final": _STAGE,
}
RUN = ["compare", "--config", "config.yaml"]
FIT = [
    "fit",
    "train.csv",
    "--text",
    "text",
    "--label",
    "label",
    "--model",
    "tiny",
    "--methods",
    "constant,vanilla",
]
FIT += ["--lr", "5e-2", "--epochs", "4", "--budget", "small", "--jobs", "1", "--device", "cpu"]
FIT += ["--max-length", "16", "--output-dir", "chosen"]


def rows(count: int, seed: int = 1) -> list[tuple[str, str]]:
    """Return texts with a class that a word tells."""
    draw = random.Random(seed)
    kinds = ("good", "bad")
    return [(" ".join([*draw.choices(WORDS[5:], k=5), kinds[n % 2]]), kinds[n % 2]) for n in range(count)]


def csv_of(count: int, seed: int) -> str:
    return "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows(count, seed))


def make_place(folder: Path) -> Path:
    """Write data files and a tiny model into a folder, and let the commands write everything else there."""
    for seed, name in enumerate(FILES):
        (folder / name).write_text(csv_of(40, seed), encoding="utf-8")
    pretrained("bert", tmp_path=folder / "tiny").model.save_pretrained(folder / "tiny")
    (folder / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    _save_model(folder / "saved")
    before = os.getcwd()
    os.chdir(folder)
    try:
        _ended([*RUN, "--method", "vanilla,frozen,agwm", "--seeds", "5,6", "--output-dir", "runs"])
        _stopped([*RUN, "--method", "vanilla", "--no-resume"], "agwm.checkpoints.Stage.finish")
        _stopped(FIT, "agwm.fitting.fit._save")
    finally:
        os.chdir(before)
    return folder


def _save_model(folder: Path) -> None:
    """Save a model with its task, as ``agwm fit`` does."""
    loaded = pretrained("bert", tmp_path=folder)
    write_plain(loaded.model, loaded.tokenizer, folder, CardFacts(max_length=16))
    names = list(loaded.model.config.id2label.values())
    task = SavedTask(["text"], ["label"], names, "single_label_classification", 16, "accuracy")
    write_task_file(folder, task)


def _ended(argv: Sequence[str]) -> None:
    if code := main(argv):
        raise SystemExit(f"The valid inputs are refused: expected exit code 0, got {code}.")


def _stopped(argv: Sequence[str], where: str) -> None:
    """Run a command that is stopped in a place."""
    with mock.patch(where, side_effect=Began), suppress(Began):
        main(argv)
        raise SystemExit(f"The run does not come to {where}: expected it to be stopped there.")
