"""The runs that are killed: ``agwm.finetune``, ``agwm fit``, ``agwm compare`` alone and in a grid."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

import agwm
import agwm.checkpoints
from agwm.command_line.main import main as agwm_main
from agwm.experiments.claims import CLAIMS
from agwm.model_selection.store import FOLDER, TRAININGS
from agwm.testing import examples, pretrained
from benchmarks.killing import Run

__all__ = ["command", "finetune", "fit", "grid", "has_claims", "has_trainings", "save_model"]

SETTINGS = {"max_length": 32, "test_limit": 20, "save_model": True, "checkpoint_step": 2, "device": "cpu"}


def save_model(folder: Path) -> str:
    """Save a tiny model with its tokenizer, and return its folder's name."""
    loaded = pretrained("bert", tmp_path=folder)
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return str(folder)


def finetune(folder: Path) -> None:
    """Finetune with K = 2, with checkpoints, and save the model."""
    stage = {"epochs": 4, "batch_size": 4, "learning_rate": 1e-3}
    config = agwm.FinetuneConfig(
        search=agwm.SearchConfig(num_resplits=2, **stage), final=agwm.TrainingConfig(**stage)
    )
    result = agwm.finetune(
        pretrained("bert").model,
        examples(),
        collate=torch.utils.data.default_collate,
        config=config,
        progress=False,
        checkpoint_dir=folder / "checkpoints",
        checkpoint_step=2,
    )
    result.save_pretrained(folder / "model")


def command(model: str) -> Run:
    """Return a run of ``agwm compare`` on an embedded task, with the models kept."""
    given = ["compare", "--task", "acceptability", "--model", model, "--train-size", "24", "--seeds", "1"]
    given += ["--epochs", "4", "--method", "vanilla,agwm"]
    for key, value in SETTINGS.items():
        given += ["--set", f"{key}={str(value).lower()}"]
    return lambda folder: agwm_main([*given, "--output-dir", str(folder)])


def fit(model: str, rows: Path) -> Run:
    """Return a run of ``agwm fit`` on made-up rows, in one process.

    Its trainings take less than the ten seconds before a first checkpoint: they are due at once here.

    Args:
        model: Folder of a model.
        rows: Where to write the rows.
    """
    words = {"bug": "it crashes and breaks", "praise": "it works and shines"}
    kinds = [*words] * 24
    texts = [f"{words[kind]} on day {number}" for number, kind in enumerate(kinds)]
    rows.write_text("text,label\n" + "".join(f"{t},{k}\n" for t, k in zip(texts, kinds, strict=True)))
    given = ["fit", str(rows), "--text", "text", "--label", "label", "--model", model, "--jobs", "1"]
    given += ["--methods", "vanilla", "--seeds", "1", "--lr", "5e-3", "--max-length", "16"]

    def run(folder: Path) -> int:
        agwm.checkpoints._FIRST, agwm.checkpoints._SHARE = 0.0, 1.0
        return agwm_main([*given, "--output-dir", str(folder)])

    return run


def has_trainings(folder: Path) -> bool:
    """Return whether a fit has begun to train."""
    return any(folder.glob(f"{FOLDER}/{TRAININGS}/*"))


def has_claims(folder: Path) -> bool:
    """Return whether a grid's workers have begun: to start them takes longer than to train."""
    return any(folder.glob(f"{CLAIMS}/*"))


def grid(model: str, file: Path) -> Run:
    """Return a run of a grid of four cells with two workers, with the models kept.

    Args:
        model: Folder of a model.
        file: Where to write the grid's file.
    """
    stage = {"epochs": 12}
    block = {"tasks": ["acceptability"], "train_sizes": [24], "models": [model], "seeds": 2}
    content = {
        "settings": {**SETTINGS, "vanilla": stage, "search": stage, "final": stage},
        "grid": {**block, "methods": {"vanilla": {}, "agwm": {}}},
    }
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    given = ["compare", "--grid", str(file), "--jobs", "2"]
    return lambda folder: agwm_main([*given, "--output-dir", str(folder)])
