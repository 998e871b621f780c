"""Hooks by which a method changes one-level training. The base class is vanilla finetuning."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from agwm.model_loss import model_loss
from agwm.training.config import TrainingConfig

__all__ = ["TrainingHooks", "decay_groups", "decays", "make_optimizer"]


def decays(model: nn.Module) -> dict[str, bool]:
    """Return name -> True if the parameter decays, for the parameters that take gradient.

    Biases and the parameters of norms do not decay. The function finds norms by their class.
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


def decay_groups(
    model: nn.Module, weight_decay: float, without: Container[str] = ()
) -> list[dict[str, Any]]:
    """Return two groups for an optimizer: parameters that decay, and parameters that do not.

    Both hold only parameters that take gradient; see :func:`decays`.

    Args:
        model: The model.
        weight_decay: Weight decay of the first group. The second has 0.
        without: Names of parameters to leave out.

    Returns:
        The two groups. One may be empty.
    """
    parameters = dict(model.named_parameters())
    chosen = {name: flag for name, flag in decays(model).items() if name not in without}
    return [
        {
            "params": [parameters[name] for name, flag in chosen.items() if flag is is_decayed],
            "weight_decay": weight_decay if is_decayed else 0.0,
        }
        for is_decayed in (True, False)
    ]


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW over the parameters that take gradient. Biases and norms do not decay.

    Args:
        model: The model.
        config: Gives learning rate and weight decay.
    """
    groups = decay_groups(model, config.weight_decay)
    # Fused: one kernel a step. Of the packaged encoder on two cores that saves a quarter of a step.
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.learning_rate, fused=True
    )


class TrainingHooks:
    """Hooks that :func:`agwm.training.loop.train` calls, in the order of a step.

    Attributes:
        takes_shards: True if they leave weights and gradients alone, so that weights may be sharded.
    """

    takes_shards: ClassVar[bool] = False

    @property
    def is_mean(self) -> bool:
        """True if the loss is a mean over examples: that of a batch is made of those of its parts."""
        return True

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
            batches: One pass over the training set, on the model's device. You can iterate it once.
            num_steps: Number of optimizer steps that follow.
        """

    def begin_step(self) -> None:
        """Draw or set what all micro-batches of a step share. The loop calls this before their passes."""

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch, or of a micro-batch, a tensor of one number.

        Args:
            model: The model in training mode.
            batch: Inputs and ``labels``, on the model's device.

        Raises:
            DataError: If the batch does not fit the model.
        """
        return model_loss(model, batch)

    def to_tree(self) -> Any:
        """Return what steps change in the hooks, for a checkpoint: tensors, numbers, texts, lists, dicts.

        What :meth:`before_training` makes of the weights before the first step is made anew.
        """
        return {}

    def load_tree(self, tree: Any) -> None:
        """Take back the state of :meth:`to_tree`. The loop calls this after :meth:`before_training`."""

    def edit_gradients(self, model: nn.Module) -> None:
        """Change ``.grad`` in place. The loop calls this after unscaling and before clipping."""

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Change weights right before the optimizer's step. It holds this step's learning rates."""

    def after_step(self, model: nn.Module) -> None:
        """Change weights right after the optimizer's step."""
