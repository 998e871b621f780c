"""The job of finetuning a tiny model, and a look at what training left of its head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from agwm.methods import Job
from agwm.models.families import head_names
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig, SearchConfig
from agwm.testing.tiny_models import examples, pretrained
from agwm.training.config import TrainingConfig

__all__ = ["job_of", "side_of", "unmoved_head"]

LEARNING_RATE = 5e-3


def side_of(family: str) -> str:
    """Return the side that a family's tokenizers pad on."""
    return "left" if family in ("llama", "xlnet") else "right"


def job_of(
    loaded: Pretrained, seed: int = 3, num_labels: int = 2, epochs: int = 1, side: str | None = None
) -> Job:
    """Make the job of finetuning a tiny model.

    Args:
        loaded: The model; see :func:`agwm.testing.pretrained`.
        seed: Seed of the run.
        num_labels: Classes; 1 makes it a regression.
        epochs: Passes over the 24 examples in each stage.
        side: The side that shorter examples are padded on; None: all examples are of one length.
    """
    stage: dict[str, Any] = {"epochs": epochs, "batch_size": 8, "learning_rate": LEARNING_RATE}
    return Job(
        loaded=loaded,
        examples=examples(num_labels=num_labels, side=side),
        collate=torch.utils.data.default_collate,
        evaluate=None,
        seed=seed,
        training=TrainingConfig(**stage),
        recipe=FinetuneConfig(search=SearchConfig(**stage), final=TrainingConfig(**stage), seed=seed),
    )


def unmoved_head(model: nn.Module, family: str, num_labels: int = 2) -> set[str]:
    """Return the parts of the head that did not train or are not in the finetuned model."""
    plain = pretrained(family, num_labels).model
    before = {name: plain.state_dict()[name] for name in head_names(plain)}
    after = _tensors_like(model, before)
    return {name for name in before if name not in after or torch.equal(after[name], before[name])}


def _tensors_like(model: nn.Module, names: dict[str, Tensor]) -> dict[str, Tensor]:
    """Find the parameters of a model, plain or wrapped by peft, by their names in the plain one."""
    found: dict[str, Tensor] = {}
    for key, tensor in model.state_dict().items():
        if "original_module" in key:
            continue
        plain = key.replace("modules_to_save.default.", "")
        found.update({name: tensor for name in names if plain.endswith(name)})
    return found
