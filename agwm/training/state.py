"""Everything that the next step of a one-level training depends on, for a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from agwm.batches import BatchSource
from agwm.finiteness import StepCheck
from agwm.rng import RngState
from agwm.training.hooks import TrainingHooks

__all__ = ["TrainingState"]


class TrainingState:
    """State of a training: what has been trained, the place in the data, and random states.

    What hooks or settings make of the pretrained model again, such as frozen weights, is left out.

    Args:
        model: The model in training.
        optimizer: Its optimizer, which may train others than the model's parameters.
        scheduler: The schedule of its rates.
        scaler: The scaler of gradients.
        source: The batches.
        hooks: The method's changes to the training.
        check: The check of every step.

    Attributes:
        step: Steps taken.
        losses: Finite losses of the present epoch.
        history: Records of the finished epochs.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        scaler: torch.amp.GradScaler,
        source: BatchSource,
        hooks: TrainingHooks,
        check: StepCheck,
    ) -> None:
        self.model, self.optimizer, self.scheduler, self.scaler = model, optimizer, scheduler, scaler
        self.source, self.hooks, self.check = source, hooks, check
        self.step = 0
        self.losses: list[Tensor] = []
        self.history: list[dict[str, Any]] = []
        self._resumed: Iterator[Any] | None = None

    def batches(self) -> Iterator[Any]:
        """Return the batches of the next epoch, or the rest of the one that was interrupted."""
        batches, self._resumed = self._resumed, None
        return iter(self.source) if batches is None else batches

    def to_tree(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            **self.result_tree(),
            "step": self.step,
            "losses": torch.stack(self.losses) if self.losses else None,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "source": self.source.to_tree(),
            "check": self.check.to_tree(),
        }

    def load_tree(self, tree: Mapping[str, Any]) -> None:
        """Take back the state of :meth:`to_tree`."""
        self.load_result(tree)
        self.step = tree["step"]
        losses = tree["losses"]
        self.losses = [] if losses is None else list(losses.to(self.model_device))
        self.optimizer.load_state_dict(tree["optimizer"])
        self.scheduler.load_state_dict(tree["scheduler"])
        self.scaler.load_state_dict(tree["scaler"])
        self.check.load_tree(tree["check"])
        self._resumed = self.source.resume(tree["source"])
        RngState.from_tree(tree["random"]).restore()

    def result_tree(self) -> dict[str, Any]:
        """Return what the training leaves: trained weights, buffers, the state of hooks, the history."""
        return {
            "weights": self._weights(),
            "hooks": self.hooks.to_tree(),
            "history": self.history,
            "random": RngState.capture(self.model_device).to_tree(),
        }

    @torch.no_grad()
    def load_result(self, tree: Mapping[str, Any]) -> None:
        """Take back the state of :meth:`result_tree`."""
        for name, tensor in self._weights().items():
            tensor.copy_(tree["weights"][name])
        self.hooks.load_tree(tree["hooks"])
        self.history = tree["history"]
        RngState.from_tree(tree["random"]).restore()

    @property
    def model_device(self) -> torch.device:
        """Device of the model's first parameter."""
        return next(self.model.parameters()).device

    def _weights(self) -> dict[str, Tensor]:
        """Return all tensors that training changes, by name or place: the tensors themselves."""
        found: dict[str, Tensor] = {
            f"parameter {name}": parameter.detach()
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }
        known = {id(p) for p in self.model.parameters()}
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        others = [p for p in trained if id(p) not in known]
        found |= {f"other {number}": parameter.detach() for number, parameter in enumerate(others)}
        return found | {f"buffer {name}": buffer for name, buffer in self.model.named_buffers()}
