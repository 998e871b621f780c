"""``MixupTrainer`` in two processes makes the steps of one on the global batch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import agwm
from agwm.processes import process_number
from tests.several_processes import run_together
from tests.tiny_models import tiny_bert
from tests.trainer_runs import rows, trainer

HERE = "tests.trainer.test_trainer_processes"
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")


def trained(folder: str, batch_size: int) -> dict[str, torch.Tensor]:
    made = trainer(
        folder,
        model=tiny_bert(dropout=0.0, num_layers=1, dtype=torch.float64),
        train_dataset=rows(20),
        args={
            "per_device_train_batch_size": batch_size,
            "save_strategy": "steps",
            "save_steps": 2,
            "logging_steps": 100,
            # Trainer multiplies the loss of BERT's heads by the number of processes otherwise
            "average_tokens_across_devices": False,
        },
    )
    made.train()
    assert agwm.mixup_of(made.model) is None
    alpha = {f"alpha {name}": value for name, value in made.attention.state_dict().items()}
    return {**made.model.state_dict(), **alpha}


def work(folder: str) -> None:
    torch.save(trained(f"{folder}/out", 5), f"{folder}/state.{process_number()}.pt")


@needs_fork
def test_two_processes_end_where_one_does(tmp_path):
    run_together(f"{HERE}:work", 2, str(tmp_path))
    first, second = (torch.load(tmp_path / f"state.{n}.pt", weights_only=True) for n in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    one = trained(str(tmp_path / "one"), 10)
    assert max(float((first[name] - one[name]).abs().max()) for name in one) < 1e-6
    start = tiny_bert(dropout=0.0, num_layers=1, dtype=torch.float64).state_dict()
    assert max(float((first[name] - start[name]).abs().max()) for name in start) > 1e-3
    folder = Path(tmp_path / "out" / "checkpoint-4")
    saved = agwm.files.load_tree(folder / "agwm_search.safetensors")
    assert set(saved) == {"mixing", "pretrained", "W", "attention", "initial"}
