"""Refuse a model, weights or examples that alpha cannot be learned from, before anything changes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from agwm.checks import check_precision
from agwm.errors import AgwmWarning, ConfigError, DataError, ModelError
from agwm.finiteness import check_tensors
from agwm.mixing.injection import check_plain
from agwm.mixing.mixup import Mixup
from agwm.recipe.config import AlphaConfig, check_kind
from agwm.recipe.search_doubts import DOUBTFUL, one_answer

__all__ = ["check_finetuned", "check_given", "tell_of_single_class", "weights_of"]


def check_given(model: nn.Module, outer_dataset: Sequence[Any], config: AlphaConfig) -> None:
    """Raise for what can be seen before anything is changed.

    Raises:
        ConfigError: If the config is none, a precision cannot be had, or no alpha can be learned.
        DataError: If there is no example.
    """
    check_kind(config, AlphaConfig, "agwm.AlphaConfig(epochs=20)")
    check_precision(config.precision, next(model.parameters()).device)
    if not config.mixing.learns_alpha:
        raise ConfigError(
            "Nothing would be learned: expected a form of alpha that can be, got mixing.alpha"
            f" {config.mixing.alpha!r}. Choose 'rank1' or 'scalar'."
        )
    check_plain(model)
    if len(outer_dataset) == 0:
        raise DataError("No outer examples: expected at least one in outer_dataset, got none. Pass some.")


def weights_of(pretrained: Any, model: nn.Module) -> dict[str, Tensor]:
    """Return pretrained weights by their names in the finetuned model.

    Raises:
        ConfigError: If they are no weights.
        DivergenceError: If one is not finite.
        ModelError: If they are of an injected model.
    """
    if isinstance(pretrained, nn.Module):
        check_plain(pretrained)
        pretrained = dict(pretrained.named_parameters(remove_duplicate=False))
    if not (isinstance(pretrained, Mapping) and all(isinstance(w, Tensor) for w in pretrained.values())):
        raise ConfigError(
            "Pretrained weights are unusable: expected the pretrained model, or its weights by name, got"
            f" a {type(pretrained).__name__}. Pass AutoModelForSequenceClassification.from_pretrained(...)."
        )
    found = {name: tensor.detach() for name, tensor in pretrained.items()}
    prefix = getattr(model, "base_model_prefix", "")  # names of a model without its head begin after it
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    found |= {f"{prefix}.{name}": w for name, w in found.items() if prefix and name not in names}
    remedy = "Load the pretrained model again."
    check_tensors({n: w for n, w in found.items() if n in names}, " in the pretrained weights", remedy)
    return found


@torch.no_grad()
def check_finetuned(mixup: Mixup) -> None:
    """Raise if W is W0 in all mixed weights: alpha has no effect then.

    Raises:
        ModelError: If it is.
    """
    starts, tasks = mixup.pretrained, {name: c.task_weights for name, c in mixup.candidates.items()}
    if all(torch.equal(starts[name], task) for name, task in tasks.items()):
        raise ModelError(
            f"Model is not finetuned: expected weights other than the pretrained ones, got {len(tasks)} to"
            " mix that are all equal. Finetune it first, and load the pretrained model anew."
        )


def tell_of_single_class(labels: Mapping[str, int], size: int) -> None:
    """Warn if all outer examples are of one class.

    Args:
        labels: Class -> number of examples; empty where labels are no classes.
        size: Number of examples.
    """
    present = [name for name, count in labels.items() if count]
    if len(present) == 1:
        line = one_answer("outer_dataset", size, repr(present[0]))
        warnings.warn(f"{DOUBTFUL}: {line}", AgwmWarning, stacklevel=3)
