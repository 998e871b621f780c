"""A small Trainer with a search, on a tiny BERT with dropout."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainingArguments

from agwm import MixupTrainer
from tests.architectures import VOCAB_SIZE
from tests.tiny_models import tiny_bert

NUM = 22


def rows(num: int = NUM, seed: int = 0) -> list[dict[str, Any]]:
    """Return encoded examples, with a column that the model does not take."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ids = torch.randint(3, VOCAB_SIZE, (num, 7))
    return [
        {"input_ids": one.tolist(), "attention_mask": [1] * 7, "labels": int(one[0]) % 2, "text": "..."}
        for one in ids
    ]


def model():
    return tiny_bert(dropout=0.1, num_layers=1)


def arguments(folder: Any, **given: Any) -> TrainingArguments:
    usual: dict[str, Any] = {
        "output_dir": str(folder),
        "learning_rate": 5e-3,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 5,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 7,
    }
    return TrainingArguments(**{**usual, **given})


def trainer(folder: Any, *, kind: type = MixupTrainer, **given: Any) -> Any:
    """Return a trainer; arguments of ``TrainingArguments`` by ``args``."""
    more = {"search": {"attention_learning_rate": 0.05}} if issubclass(kind, MixupTrainer) else {}
    given = {"model": None if "model_init" in given else model(), "train_dataset": rows(), **more, **given}
    return kind(args=arguments(folder, **given.pop("args", {})), **given)


def state(of: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in of.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)
