"""Where a method of finetuning can act on one-level training; as they stand they are vanilla's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from agwm.finetune_config import TrainingConfig

__all__ = ["TrainingHooks", "decays", "make_optimizer"]


def decays(model: nn.Module) -> dict[str, bool]:
    """Return for each parameter that takes gradient whether weight decay is for it.

    It is not for biases and for the parameters of norms, whatever they are called in the model.
    """
    norms = {
        id(parameter)
        for module in model.modules()
        if "norm" in type(module).__name__.lower()
        for parameter in module.parameters(recurse=False)
    }
    return {
        name: not (id(parameter) in norms or name.endswith("bias"))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW over the parameters that take gradient; no decay of biases and norms.

    Args:
        model: The model.
        config: Gives learning rate and weight decay.
    """
    is_decayed = decays(model)
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in is_decayed}
    groups = [
        {
            "params": [parameters[name] for name, flag in is_decayed.items() if flag is chosen],
            "weight_decay": config.weight_decay if chosen else 0.0,
        }
        for chosen in (True, False)
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate)


class TrainingHooks:
    """The places of :func:`agwm.training.train` in which a method acts, in the order of a step."""

    def make_optimizer(self, model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
        """Return the optimizer of the parameters that take gradient.

        Args:
            model: The model in training.
            config: Gives learning rate and weight decay.
        """
        return make_optimizer(model, config)

    def before_training(
        self, model: nn.Module, batches: Iterable[Mapping[str, Tensor]], num_steps: int
    ) -> None:
        """Look at the training set before the first step, or plan the run.

        Args:
            model: The model in training mode.
            batches: A pass over the training set, on the model's device; may be taken once.
            num_steps: Optimizer steps that follow.
        """

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch, a number.

        Args:
            model: The model in training mode.
            batch: Inputs and ``labels``, on its device.
        """
        return model(**batch).loss

    def edit_gradients(self, model: nn.Module) -> None:
        """Change ``.grad`` in place; after unscaling and before clipping."""

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Change weights right before the optimizer's step; its learning rates are this step's."""

    def after_step(self, model: nn.Module) -> None:
        """Change weights right after the optimizer's step."""
