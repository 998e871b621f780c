"""Dynamic parameter selection: windows of full training that choose what the next window trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

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
    """Return the stage, 1 or 2, of a step that counts from 1, and whether it is the stage's first step."""
    return 1 + (step - 1) // length % 2, (step - 1) % length == 0


def window_length(num_steps: int, ratio: float) -> int:
    """Return the steps of a window: a part of all steps of the run, at least one."""
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
        update_ratio: Length of a window in parts of all steps, at most 0.5; with 1 no weight would rest.
        mask_head: Mask the weight matrices of the head too, as the authors do.
        hold: Keep resting weights bit for bit; False: momentum and weight decay move them, as in the
            authors' code.
        dropout: ``"keep"``: that of the checkpoint, as vanilla has; ``"off"``: none in the backbone.
    """

    masked_fraction: Annotated[float, Interval(0, 0.99)] = 0.3
    update_ratio: Annotated[float, Interval(0, 0.5)] = 0.05
    mask_head: bool = True
    hold: bool = True
    dropout: BackboneDropoutMode = "keep"


class Dps(OneLevelMethod):
    """Base of both methods: it counts the windows and holds the weights that rest.

    Attributes:
        step: Steps taken; those with a gradient that is not finite do not count.
        masks: Of the second stage; empty in the first.
        squares: Sums of squared gradients, one for each weight.
    """

    def start(self, loaded: Pretrained) -> None:
        """Set the clock to 0, and dropout as the settings say."""
        self.masks = Masks()
        self.step, self.length = 0, 1
        self.squares: list[Tensor] = []
        self.dropout = BackboneDropout(loaded.model) if self.settings.dropout == "off" else None

    def before_training(
        self, model: nn.Module, batches: Iterable[Mapping[str, Tensor]], num_steps: int
    ) -> None:
        """Set the length of the windows."""
        self.length = window_length(num_steps, self.settings.update_ratio)

    def choose(self, weights: list[nn.Parameter], scores: list[Tensor]) -> None:
        """Keep the weights of largest score in each matrix, drop the sums."""
        kept = 1 - self.settings.masked_fraction
        masks = [largest([score], count_of(kept, score.numel()))[0] for score in scores]
        self.masks = Masks(list(zip(weights, masks, strict=True)))
        self.squares = []

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Remember the weights that rest."""
        if self.settings.hold:
            self.masks.hold()

    def after_step(self, model: nn.Module) -> None:
        """Put them back."""
        if self.settings.hold:
            self.masks.put_back()

    def finish(self, model: nn.Module) -> nn.Module:
        """Give the model its dropout back."""
        if self.dropout is not None:
            self.dropout.restore()
        return model


class DpsDense(Dps):
    r"""DPS Dense: a window of full steps sums :math:`G = \sum g^2`, in the next one g is masked by G.

    In the second stage :math:`g \leftarrow g \odot M` with M the ``1 - p`` largest entries of G in each
    weight matrix. Both sums and masks begin anew in every cycle. Biases, norms and embeddings are never
    masked.

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
        """Raise where the backbone has no linear map."""
        if not any(candidate.in_backbone for candidate in self._candidates(loaded)):
            raise self.refuse(loaded.model, "expected linear maps in its backbone, got none.")

    def initialize(self, loaded: Pretrained, seed: int) -> None:
        """Find the weight matrices."""
        self.weights = [candidate.task_weights for candidate in self._candidates(loaded)]
        self.start(loaded)

    def edit_gradients(self, model: nn.Module) -> None:
        """Sum squares in the first stage, mask in the second; before clipping, after unscaling."""
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
