"""DPS Dense: train all weights in one window of steps, and a selection of them in the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from agwm.checks import Interval
from agwm.methods.backbone_dropout import BackboneDropout, BackboneDropoutMode
from agwm.methods.masks import Masks, count_of, has_finite_gradients, largest
from agwm.methods.method import OneLevelMethod, Settings
from agwm.mixing.selection import Candidate, find_candidates
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig

__all__ = ["Dps", "DpsDense", "DpsDenseSettings", "add_squares", "window", "window_length"]


def window(step: int, length: int) -> tuple[int, bool]:
    """Return the stage (1 or 2) of a step, and True if the stage begins with it. Steps count from 1."""
    return 1 + (step - 1) // length % 2, (step - 1) % length == 0


def window_length(num_steps: int, ratio: float) -> int:
    """Return the number of steps in a window: the given part of the run's steps, at least one."""
    return max(1, int(num_steps * ratio + 1e-6))


def add_squares(squares: list[Tensor], weights: list[nn.Parameter]) -> None:
    """Add the squares of the weights' gradients to the sums, in place."""
    for total, weight in zip(squares, weights, strict=True):
        if weight.grad is not None:
            total.addcmul_(weight.grad, weight.grad)


@dataclass(frozen=True)
class DpsDenseSettings(Settings):
    """Settings of :class:`DpsDense`.

    Attributes:
        masked_fraction: Part of each weight matrix that rests in the second stage, in [0, 1).
        update_ratio: Length of a window as a part of all steps, at most 0.5. With 1 no weight would rest.
        mask_head: True to mask the weight matrices of the head too, as the authors do.
        hold: True keeps resting weights bit for bit. False lets momentum and weight decay move them, as in
            the authors' code.
        dropout: ``"keep"``: the checkpoint's dropout, as in vanilla; ``"off"``: none in the backbone.
    """

    masked_fraction: Annotated[float, Interval(0, 0.99)] = 0.3
    update_ratio: Annotated[float, Interval(0, 0.5)] = 0.05
    mask_head: bool = True
    hold: bool = True
    dropout: BackboneDropoutMode = "keep"


class Dps(OneLevelMethod):
    """Base class of DPS Dense and DPS Mix. It counts the windows and holds the resting weights.

    Attributes:
        step: Number of steps taken. A step with a gradient that is not finite does not count.
        masks: Masks of the second stage; empty in the first.
        weights: The weight matrices that masks are of.
        squares: Sums of squared gradients, one tensor per weight matrix.
    """

    weights: list[nn.Parameter]

    def start(self, loaded: Pretrained) -> None:
        """Reset the step count and the sums, and switch dropout off if the settings ask for it."""
        self.masks = Masks()
        self.step, self.length = 0, 1
        self.squares: list[Tensor] = []
        self.dropout = BackboneDropout(loaded.model) if self.settings.dropout == "off" else None

    def before_training(
        self, model: nn.Module, batches: Iterable[Mapping[str, Tensor]], num_steps: int
    ) -> None:
        """Set the length of the windows."""
        self.length = window_length(num_steps, self.settings.update_ratio)

    def to_tree(self) -> Any:
        """Return the steps that count, the sums and the masks."""
        return {
            "step": self.step,
            "squares": self.squares,
            "masks": [mask for _, mask in self.masks.pairs],
        }

    def load_tree(self, tree: Any) -> None:
        """Take back the state of :meth:`to_tree`."""
        device = self.weights[0].device
        self.step = tree["step"]
        self.squares = [tensor.to(device) for tensor in tree["squares"]]
        masks = [mask.to(device) for mask in tree["masks"]]
        self.masks = Masks(list(zip(self.weights, masks, strict=True)) if masks else [])

    def choose(self, weights: list[nn.Parameter], scores: list[Tensor]) -> None:
        """Mask all but the weights of largest score in each matrix, and drop the sums."""
        kept = 1 - self.settings.masked_fraction
        masks = [largest([score], count_of(kept, score.numel()))[0] for score in scores]
        self.masks = Masks(list(zip(weights, masks, strict=True)))
        self.squares = []

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Remember the weights, so that resting ones can be put back."""
        if self.settings.hold:
            self.masks.hold()

    def after_step(self, model: nn.Module) -> None:
        """Put the resting weights back."""
        if self.settings.hold:
            self.masks.put_back()

    def finish(self, model: nn.Module) -> nn.Module:
        """Return the model with its dropout restored."""
        if self.dropout is not None:
            self.dropout.restore()
        return model


class DpsDense(Dps):
    r"""DPS Dense: one window trains all weights and sums :math:`G = \sum g^2`, the next masks g by G.

    In the second stage :math:`g \leftarrow g \odot M`. M marks the part ``1 - p`` of each weight matrix
    with the largest entries of G. Sums and masks begin anew in every cycle. Biases, norms and embeddings
    are never masked.

    Reference:
        Zhang et al., Fine-Tuning Pre-Trained Language Models Effectively by Optimizing Subnetworks
        Adaptively, NeurIPS 2022.
    """

    name = "dps_dense"
    acts_on = ("gradient", "optimizer")
    settings_class = DpsDenseSettings

    def _candidates(self, loaded: Pretrained) -> list[Candidate]:
        chosen = [c for c in find_candidates(loaded.model) if c.is_linear and not c.obstacle]
        if self.settings.mask_head:
            return chosen
        return [c for c in chosen if c.in_backbone and not set(c.aliases) & set(loaded.fresh)]

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if the backbone has no linear map."""
        if not any(candidate.in_backbone for candidate in self._candidates(loaded)):
            raise self.refuse(loaded.model, "expected linear maps in its backbone, got none.")

    def initialize(self, loaded: Pretrained, seed: int) -> None:
        """Find the weight matrices."""
        self.weights = [candidate.task_weights for candidate in self._candidates(loaded)]
        self.start(loaded)

    def edit_gradients(self, model: nn.Module) -> None:
        """Sum squared gradients in the first stage, and mask gradients in the second."""
        if not has_finite_gradients(model):
            return
        self.step += 1
        stage, is_first = window(self.step, self.length)
        if stage == 1:
            if is_first:
                self.masks = Masks()
                self.squares = [torch.zeros_like(weight) for weight in self.weights]
            add_squares(self.squares, self.weights)
        else:
            if is_first:
                self.choose(self.weights, self.squares)
            self.masks.mask_gradients()
