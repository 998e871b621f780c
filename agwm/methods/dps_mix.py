"""DPS Mix: DPS with Mixout in place of plain masks."""

from __future__ import annotations

from collections.abc import Iterable
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

# In windows of at least this many steps, a weight's score also depends on how often it was kept.
_LONG_WINDOW = 50


def mix_scores(
    squares: Tensor,  # shape: (*shape)
    counts: Tensor,  # broadcastable to (*shape)
    length: int,
) -> Tensor:  # shape: (*shape)
    r"""Return the score of each weight: mean square of its gradient in the steps that kept it.

    :math:`s = G / F`. Windows of :math:`u \ge 50` steps multiply it by :math:`e^{-F / u}`. A weight with
    F = 0 scores 0.

    Args:
        squares: G, sum of squares of masked gradients.
        counts: F, number of steps that kept the weight.
        length: u, number of steps in a window.

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
        masked_fraction: p, in [0, 1): probability of Mixout in the first stage, and the part of each
            weight matrix that rests in the second.
        update_ratio: Length of a window as a part of all steps, at most 0.5. With 1 no weight would rest.
        gradient: ``"exact"``: the derivative of the mixed weights; ``"official"``: the derivative times
            1 - p.
        hold: True keeps resting weights bit for bit. False lets momentum and weight decay move them, as in
            the authors' code.
        dropout: ``"off"``: Mixout replaces the backbone's dropout; ``"keep"``: both act.
    """

    masked_fraction: Annotated[float, Interval(0, 0.99)] = 0.3
    update_ratio: Annotated[float, Interval(0, 0.5)] = 0.05
    gradient: MixoutGradient = "exact"
    hold: bool = True
    dropout: BackboneDropoutMode = "off"


class DpsMix(Dps):
    r"""DPS Mix: DPS in which masked weights fall back to other values, as in Mixout.

    In the first stage weights fall back to the pretrained weights, with column masks :math:`M_t`. The
    method sums :math:`G = \sum g^2 \odot M_t` and :math:`F = \sum M_t`. In the second stage M marks the
    part ``1 - p`` of each matrix with the largest :func:`mix_scores`. The model sees
    :math:`T + M \odot (W - T) / (1 - p)`, with T the weights at the start of the stage. M masks g too.

    The method acts only on pretrained linear maps of the backbone, because the head has no pretrained
    weights to fall back to.

    Reference:
        Zhang et al., Fine-Tuning Pre-Trained Language Models Effectively by Optimizing Subnetworks
        Adaptively, NeurIPS 2022.
    """

    name = "dps_mix"
    acts_on = ("reparametrization", "gradient", "optimizer")
    settings_class = DpsMixSettings

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if the model has no pretrained linear map, or one whose inputs are not known."""
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

    def to_tree(self) -> Any:
        """Return the state of the first method too, the counts, and what masked entries fall back to."""
        pairs = zip(self.mixed.weights, self.pretrained, strict=True)
        targets = [weight.target for weight, pretrained in pairs if weight.target is not pretrained]
        own = {"counts": self.counts, "targets": targets, "generator": self.mixed.to_tree()}
        return {**super().to_tree(), **own}

    def load_tree(self, tree: Any) -> None:
        """Take back the state of :meth:`to_tree`."""
        super().load_tree(tree)
        device = self.weights[0].device
        self.counts = [tensor.to(device) for tensor in tree["counts"]]
        targets = [tensor.to(device) for tensor in tree["targets"]] or self.pretrained
        for weight, target in zip(self.mixed.weights, targets, strict=True):
            weight.target = target
        self.mixed.load_tree(tree["generator"])

    def begin_step(self) -> None:
        """Switch stages if a window begins, and set the masks of this step."""
        # a skipped step did not count, so this one begins it anew
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
        """Sum squared gradients in the first stage. In the second the forward pass masks gradients."""
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
                if mask is not None:  # never None here: the forward pass drew all masks
                    count.add_(mask)

    def finish(self, model: nn.Module) -> nn.Module:
        """Return a plain model with the weights W."""
        self.mixed.remove()
        return super().finish(model)
