"""Child-Tuning_F: keep the gradient of a random part of the weights, drawn anew in every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from agwm.checks import Interval
from agwm.methods.masks import Masks
from agwm.methods.method import OneLevelMethod, Settings
from agwm.models.pretrained import Pretrained
from agwm.rng import generator_state, set_generator_state

__all__ = ["ChildF", "ChildFSettings"]

# Masks have a random stream of their own, so data order and dropout are the same as vanilla's.
_STREAM = 0x6368696C64


@dataclass(frozen=True)
class ChildFSettings(Settings):
    """Settings of :class:`ChildF`.

    Attributes:
        kept_fraction: Probability that a weight is in the child network of a step, in (0, 1].
        hold: True lets a step move only the weights of its child network. False masks only the gradient,
            so that the moments of Adam move the other weights too, as in the authors' code.
    """

    kept_fraction: Annotated[float, Interval(1e-6, 1)] = 0.3
    hold: bool = False


class ChildF(OneLevelMethod):
    r"""Child-Tuning_F: :math:`g \leftarrow g \odot M / p`, M drawn from Bernoulli(p) in every step.

    The masks cover all weights, head and embeddings included. The mean of the masked gradient over M is
    the gradient.

    Reference:
        Xu et al., Raise a Child in Large Language Model: Towards Effective and Generalizable Fine-tuning,
        EMNLP 2021.
    """

    name = "child_f"
    acts_on = ("gradient",)
    settings_class = ChildFSettings

    def initialize(self, loaded: Pretrained, seed: int) -> None:
        """Seed the masks."""
        device = next(loaded.model.parameters()).device
        self.generator = torch.Generator(device).manual_seed((seed + _STREAM) % 2**63)
        self.masks = Masks()

    def to_tree(self) -> Any:
        """Return the state of the generator of masks; a step leaves no mask for the next."""
        return {"generator": generator_state(self.generator)}

    def load_tree(self, tree: Any) -> None:
        """Take back the state of :meth:`to_tree`."""
        set_generator_state(self.generator, tree["generator"])

    def _draw(self, like: Tensor) -> Tensor:
        draw = torch.rand(like.shape, generator=self.generator, device=like.device)
        return draw < self.settings.kept_fraction

    def edit_gradients(self, model: nn.Module) -> None:
        """Draw masks, then mask and scale the gradient, before clipping."""
        pairs = []
        for parameter in model.parameters():
            if parameter.grad is not None:
                masks = Masks([(parameter, self._draw(parameter))])
                masks.mask_gradients(1 / self.settings.kept_fraction)
                # kept only if the step needs it: a mask takes a quarter of its weight's memory
                pairs += masks.pairs if self.settings.hold else []
        self.masks = Masks(pairs)

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Remember the weights, so that masked ones can be put back."""
        self.masks.hold()

    def after_step(self, model: nn.Module) -> None:
        """Put the masked weights back."""
        self.masks.put_back()
