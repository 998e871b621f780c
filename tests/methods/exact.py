"""Training in float64 without dropout, and its gradients, to check updates by hand."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from agwm.methods.method import OneLevelMethod
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.testing.tiny_models import batch, examples, pretrained
from agwm.training.config import TrainingConfig
from agwm.training.loop import make_loader, train

__all__ = ["NUM_STEPS", "double", "exact", "gradients", "steps", "still", "train_by", "weights"]

NUM_STEPS = 3
_SEED = 5


def exact(family: str, num_labels: int = 2) -> Pretrained:
    """Build a tiny model in float64 whose passes draw no random number."""
    loaded = pretrained(family, num_labels)
    loaded.model.double()
    for module in loaded.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return loaded


def still(family: str = "bert", num_labels: int = 2) -> Pretrained:
    """Build such a model in training mode."""
    loaded = exact(family, num_labels)
    loaded.model.train()
    return loaded


def double(num_labels: int = 2) -> dict[str, Tensor]:
    """Return a batch whose floating-point numbers are in float64."""
    return _wide(batch(num_labels=num_labels))


def _wide(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.double() if value.is_floating_point() else value for key, value in tensors.items()}


def config(**settings: object) -> TrainingConfig:
    """Return settings of ``NUM_STEPS`` steps at one learning rate."""
    defaults = {
        "epochs": 1,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "schedule": "constant",
        "warmup_ratio": 0.0,
        "clipping": 0.0,
        "weight_decay": 0.1,
    }
    return TrainingConfig(**(defaults | settings))


def _data(num_labels: int) -> list[dict[str, Tensor]]:
    return [_wide(row) for row in examples(8 * NUM_STEPS, num_labels)]


def train_by(
    method: OneLevelMethod, loaded: Pretrained, num_labels: int = 2, **settings: object
) -> nn.Module:
    """Train a model by the hooks of a method."""
    method.initialize(loaded, _SEED)
    model = method.reparametrize(loaded, FinetuneConfig(), _SEED)
    train(
        model,
        _data(num_labels),
        collate=torch.utils.data.default_collate,
        config=config(**settings),
        seed=_SEED,
        progress=False,
        hooks=method,
    )
    return model


def steps(num_labels: int = 2) -> Iterator[dict[str, Tensor]]:
    """Yield the batches that :func:`train_by` trains on."""
    yield from make_loader(_data(num_labels), 8, torch.utils.data.default_collate, _SEED)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Copy the parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def gradients(model: nn.Module, values: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradient of the task loss at given values of the parameters."""
    twin = copy.deepcopy(model)
    for name, parameter in twin.named_parameters():
        parameter.data.copy_(values[name])
        parameter.grad = None
    twin(**batch).loss.backward()
    return {
        name: parameter.grad for name, parameter in twin.named_parameters() if parameter.grad is not None
    }
