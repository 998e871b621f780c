"""One cell of methods x families: a tiny model, finetuned by a method or refused by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from agwm.errors import MethodError
from agwm.methods import METHODS, Method, Outcome, RivalsConfig, make_method
from agwm.methods.method import Job
from agwm.models.families import head_names
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig, SearchConfig
from agwm.training.config import TrainingConfig
from tests.methods.models import FAMILIES, examples, pretrained

__all__ = [
    "CELLS",
    "EPOCHS",
    "finetune_cell",
    "job_of",
    "refusal",
    "side_of",
    "small_method",
    "unmoved_head",
]

LEARNING_RATE, EPOCHS = 5e-3, 6
CELLS = [(method, family) for method in METHODS for family in FAMILIES]


def side_of(family: str) -> str:
    """Return the side that a family's tokenizers pad on."""
    return "left" if family in ("llama", "xlnet") else "right"


def job_of(
    loaded: Pretrained, seed: int = 3, num_labels: int = 2, epochs: int = 1, side: str | None = None
) -> Job:
    """Make the job of finetuning a tiny model."""
    stage = {"epochs": epochs, "batch_size": 8, "learning_rate": LEARNING_RATE}
    return Job(
        loaded=loaded,
        examples=examples(num_labels=num_labels, side=side),
        collate=torch.utils.data.default_collate,
        evaluate=None,
        seed=seed,
        training=TrainingConfig(**stage),
        recipe=FinetuneConfig(search=SearchConfig(**stage), final=TrainingConfig(**stage), seed=seed),
    )


def small_method(name: str, epochs: int = EPOCHS) -> Method:
    """Make a method that a tiny run can show: those with epochs of their own, peft's, learn slowly."""
    settings = getattr(RivalsConfig(), name, None)
    if settings is not None and settings.epochs is not None:
        settings = replace(settings, epochs=2 * epochs, learning_rate=3e-2)
    return make_method(name, RivalsConfig(**({} if settings is None else {name: settings})))


def refusal(name: str, family: str) -> str | None:
    """Return why a method refuses a family before any training, or None."""
    try:
        small_method(name).check(pretrained(family), FinetuneConfig())
    except MethodError as error:
        return str(error)
    return None


def finetune_cell(
    name: str, family: str, num_labels: int = 2, tokenizer: Path | None = None, epochs: int = 1
) -> Outcome:
    """Finetune a tiny model of a family."""
    loaded = pretrained(family, num_labels, tokenizer)
    if tokenizer is not None:
        loaded.tokenizer.padding_side = side_of(family)
    job = job_of(loaded, num_labels=num_labels, epochs=epochs, side=side_of(family))
    return small_method(name, epochs).run(job)


def unmoved_head(outcome: Outcome, family: str, num_labels: int = 2) -> set[str]:
    """Return the parts of the head that did not train or are not in the finetuned model."""
    plain = pretrained(family, num_labels).model
    before = {name: plain.state_dict()[name] for name in head_names(plain)}
    after = _tensors_like(outcome.model, before)
    return {name for name in before if name not in after or torch.equal(after[name], before[name])}


def _tensors_like(model: torch.nn.Module, names: dict[str, Tensor]) -> dict[str, Tensor]:
    """Find the parameters of a model, plain or wrapped by peft, by their names in the plain one."""
    found: dict[str, Tensor] = {}
    for key, tensor in model.state_dict().items():
        if "original_module" in key:
            continue
        plain = key.replace("modules_to_save.default.", "")
        found.update({name: tensor for name in names if plain.endswith(name)})
    return found
