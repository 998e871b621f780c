"""DPS Mix: dynamic parameter selection with Mixout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from agwm.checks import Interval
from agwm.methods.backbone_dropout import BackboneDropoutMode
from agwm.methods.dps_dense import Dps, add_squares, window
from agwm.methods.masks import Masks, has_finite_gradients
from agwm.methods.method import Settings
from agwm.methods.mixout_weights import MixoutGradient, MixoutWeight, MixoutWeights, column_shape, mixable
from agwm.mixing.selection import Candidate
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig

__all__ = ["DpsMix", "DpsMixSettings", "mix_scores"]

# From this length of a window on, how often a weight was kept enters its score.
_LONG_WINDOW = 50


def mix_scores(
    squares: Tensor,  # shape: (*shape)
    counts: Tensor,  # broadcastable to (*shape)
    length: int,
) -> Tensor:  # shape: (*shape)
    r"""Return the score of each weight: mean square of its gradient in the steps that kept it.

    :math:`s = G / F`, times :math:`e^{-F / u}` where the window has :math:`u \ge 50` steps; 0 where F is 0.

    Args:
        squares: G, sum of squares of masked gradients.
        counts: F, steps that kept the weight.
        length: u, steps of a window.

    Reference:
        Zhang et al., Fine-Tuning Pre-Trained Language Models Effectively by Optimizing Subnetworks
        Adaptively, NeurIPS 2022; the bound 50 is the official code's.
    """
    scores = squares / counts.clamp(min=1)
    return scores * torch.exp(-counts / length) if length >= _LONG_WINDOW else scores


@dataclass(frozen=True)
class DpsMixSettings(Settings):
    """Settings of :class:`DpsMix`.

    Attributes:
        masked_fraction: p: probability of Mixout in the first stage, and the part of each weight matrix
            that rests in the second; in [0, 1).
        update_ratio: Length of a window in parts of all steps, at most 0.5; with 1 no weight would rest.
        gradient: ``"exact"``: the derivative of the mixed weights; ``"official"``: that times 1 - p.
        hold: Keep resting weights bit for bit; False: momentum and weight decay move them, as in the
            authors' code.
        dropout: ``"off"``: Mixout takes the place of the backbone's dropout; ``"keep"``: beside it.
    """

    masked_fraction: Annotated[float, Interval(0, 0.99)] = 0.3
    update_ratio: Annotated[float, Interval(0, 0.5)] = 0.05
    gradient: MixoutGradient = "exact"
    hold: bool = True
    dropout: BackboneDropoutMode = "off"


class DpsMix(Dps):
    r"""DPS Mix: DPS with Mixout, towards the pretrained weights and then towards those at the switch.

    First stage: Mixout with column masks :math:`M_t`, sums :math:`G = \sum g^2 \odot M_t` and
    :math:`F = \sum M_t`. Second stage: M the ``1 - p`` largest :func:`mix_scores` of each matrix; the model
    sees :math:`T + M \odot (W - T) / (1 - p)`, T the weights at the start of the stage, and g is masked
    by M. Only pretrained linear maps of the backbone: the head has no weights to go back to.

    Reference:
        Zhang et al., Fine-Tuning Pre-Trained Language Models Effectively by Optimizing Subnetworks
        Adaptively, NeurIPS 2022.
    """

    name = "dps_mix"
    acts_on = ("reparametrization", "gradient", "optimizer")
    settings_class = DpsMixSettings

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise where no pretrained linear map is found, or one whose inputs are not known."""
        self._shapes(loaded, mixable(loaded))

    def _shapes(self, loaded: Pretrained, candidates: list[Candidate]) -> list[tuple[int, ...]]:
        shapes = {candidate.name: column_shape(candidate) for candidate in candidates}
        unknown = [name for name, shape in shapes.items() if shape is None]
        if unknown or not shapes:
            got = repr(unknown[0]) if unknown else "none"
            reason = "expected pretrained linear maps whose inputs are known (nn.Linear, Conv1D, XLNet's)"
            raise self.refuse(loaded.model, f"{reason}, got {got}.")
        return [shape for shape in shapes.values() if shape is not None]

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Copy the pretrained weights and put the hooks on."""
        self.start(loaded)
        candidates = mixable(loaded)
        shapes = self._shapes(loaded, candidates)
        self.mixed = MixoutWeights(candidates, shapes, self.settings.masked_fraction, seed)
        self.weights = [weight.parameter for weight in self.mixed.weights]
        self.pretrained = [weight.target for weight in self.mixed.weights]
        self.counts: list[Tensor] = []
        return loaded.model

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Switch stages where a window begins, and set the masks of this step's forward and backward."""
        # a step that was skipped is begun anew
        stage, is_first = window(self.step + 1, self.length)
        if stage == 1:
            if is_first:
                self._begin_first()
            self.mixed.draw()
        else:
            if is_first and self.squares:
                self._begin_second()
            for weight, (_, mask) in zip(self.mixed.weights, self.masks.pairs, strict=True):
                weight.mask = mask
        return super().loss(model, batch)

    def _begin_first(self) -> None:
        self.masks = Masks()
        self.squares = [torch.zeros_like(weight) for weight in self.weights]
        self.counts = [weight.new_zeros(mixed.shape) for weight, mixed in self._pairs()]
        for weight, pretrained in zip(self.mixed.weights, self.pretrained, strict=True):
            weight.target = pretrained

    def _begin_second(self) -> None:
        pairs = zip(self.squares, self.counts, strict=True)
        self.choose(self.weights, [mix_scores(total, count, self.length) for total, count in pairs])
        for weight in self.mixed.weights:
            weight.target = weight.parameter.detach().clone()

    def _pairs(self) -> Iterable[tuple[nn.Parameter, MixoutWeight]]:
        return zip(self.weights, self.mixed.weights, strict=True)

    def edit_gradients(self, model: nn.Module) -> None:
        """Sum squares of the first stage; the masks of the second are in the gradient already."""
        masks = [weight.mask for weight in self.mixed.weights]
        self.mixed.clear()
        if self.settings.gradient == "official":
            self.mixed.scale_gradients()
        if not has_finite_gradients(model):
            return
        self.step += 1
        if window(self.step, self.length)[0] == 1:
            add_squares(self.squares, self.weights)
            for count, mask in zip(self.counts, masks, strict=True):
                if mask is not None:  # each was drawn in the forward pass
                    count.add_(mask)

    def finish(self, model: nn.Module) -> nn.Module:
        """Leave W in a plain model."""
        self.mixed.remove()
        return super().finish(model)
