"""The loss of the inner problem, outside of the search: in the final stage, and on an evaluation set."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader

from agwm.batches import to_device
from agwm.errors import ConfigError
from agwm.search.problems import TaskWeightProblem
from agwm.training.hooks import TrainingHooks
from agwm.training.loop import Collate

__all__ = ["InnerLoss", "MeanLoss", "check_problem"]


def check_problem(name: str, given: object, base: type) -> None:
    """Raise unless a class is a problem whose ``loss`` takes a batch.

    Args:
        name: The argument that it was given as.
        given: The class.
        base: The class of agwm that it has to be, or to derive from.

    Raises:
        ConfigError: If it is not.
    """
    if not (isinstance(given, type) and issubclass(given, base)):
        got = given.__name__ if isinstance(given, type) else f"an object of {type(given).__name__}"
        raise ConfigError(
            f"{name} is no problem: expected {base.__name__} or a subclass of it, got {got}. Pass the"
            " class."
        )
    loss: Any = given.loss  # type: ignore[attr-defined]  # of the base
    try:
        inspect.signature(loss).bind(None, None)
    except TypeError:
        raise ConfigError(
            f"{given.__name__}.loss does not take a batch: expected loss(self, batch), got"
            f" loss{inspect.signature(loss)}. Give further arguments a default."
        ) from None


class InnerLoss(TrainingHooks):
    """Vanilla training with the loss of an inner problem.

    Args:
        problem: The problem, on the model in training.
    """

    takes_shards = True

    def __init__(self, problem: TaskWeightProblem) -> None:
        self.problem = problem

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the problem's loss of a batch, as the search takes it."""
        outcome: Any = self.problem.training_step(batch)
        return outcome["loss"] if isinstance(outcome, dict) else outcome  # Betty allows a dict


class MeanLoss:
    """Evaluation by the mean loss over examples.

    Args:
        dataset: Encoded examples.
        collate: Makes a batch of a list of examples.
        batch_size: Examples a pass.

    Attributes:
        problem: The present inner problem, whose loss it is.
    """

    problem: TaskWeightProblem

    def __init__(self, dataset: Any, collate: Collate, batch_size: int) -> None:
        self.dataset, self.collate, self.batch_size = dataset, collate, batch_size

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Return ``eval_loss``.

        Raises:
            ConfigError: If the problem gives no loss.
        """
        device = next(model.parameters()).device
        total, start = 0.0, 0
        for batch in DataLoader(self.dataset, self.batch_size, collate_fn=self.collate):
            loss = self.problem.loss(to_device(batch, device))
            if loss is None:
                raise ConfigError(
                    "Model gives no loss: expected batches with labels, got none. Add labels to the data."
                )
            size = min(self.batch_size, len(self.dataset) - start)
            total, start = total + float(loss) * size, start + size
        return {"eval_loss": total / max(1, start)}
