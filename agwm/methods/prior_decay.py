"""Weight decay towards the pretrained weights instead of towards 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from agwm.checks import NonNegative
from agwm.methods.masks import has_finite_gradients
from agwm.methods.method import OneLevelMethod, Settings
from agwm.methods.pull import copy_pretrained, pull_
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.training.config import TrainingConfig
from agwm.training.hooks import decay_groups, decays

__all__ = ["PriorDecay", "PriorDecaySettings"]

# Adam rescales the gradient of the coupled form, so the two forms need strengths of different sizes.
_STRENGTHS = {"decoupled": 100.0, "coupled": 0.1}


@dataclass(frozen=True)
class PriorDecaySettings(Settings):
    """Settings of :class:`PriorDecay`.

    Attributes:
        form: ``"decoupled"``: a separate step; ``"coupled"``: a term of the loss, which Adam rescales.
        strength: lambda; None: 100 for the decoupled form, 0.1 for the coupled one. Over a run the
            decoupled form undoes ``1 - exp(-lambda * sum of learning rates)`` of a drift. Below 10 it
            undoes next to nothing.
    """

    form: Literal["decoupled", "coupled"] = "decoupled"
    strength: NonNegative | None = None


class PriorDecay(OneLevelMethod):
    r"""Weight decay towards the pretrained weights, in place of decay towards 0.

    The decoupled form acts before each step of Adam, with the learning rate :math:`\eta_t` of the step:

    .. math:: W \leftarrow W - \min(1, \eta_t \lambda) (W - W_0)

    The coupled form adds the gradient of :math:`\frac{\lambda}{2} \lVert W - W_0 \rVert^2` before clipping:

    .. math:: g \leftarrow g + \lambda (W - W_0)

    The method pulls the weights of the backbone that vanilla decays, so no biases and no norms. The head
    and all weights that the checkpoint does not hold decay towards 0, as in vanilla.

    Reference:
        Daumé III, ACL 2007; Li, Grandvalet and Davoine, ICML 2018 (L2-SP); decoupled: Zhang et al., ICLR
        2021, whose code pulls the head to its random start.
    """

    name = "prior_decay"
    acts_on = ("gradient", "optimizer")
    settings_class = PriorDecaySettings
    pretrained: dict[str, Tensor]
    pulled: dict[str, nn.Parameter]
    is_step: bool = True

    @property
    def strength(self) -> float:
        """Lambda: the strength that is set, or the default of the form."""
        given = self.settings.strength
        return _STRENGTHS[self.settings.form] if given is None else given

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Keep copies of the pretrained weights, and return the model."""
        is_decayed = decays(loaded.model)
        copies = copy_pretrained(loaded)
        self.pretrained = {name: copy for name, copy in copies.items() if is_decayed[name]}
        return loaded.model

    def make_optimizer(self, model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
        """Return AdamW that decays only weights without a pretrained value."""
        parameters = dict(model.named_parameters())
        self.pulled = {name: parameters[name] for name in self.pretrained}
        pulled = {"params": list(self.pulled.values()), "weight_decay": 0.0}
        others = decay_groups(model, config.weight_decay, without=self.pulled)
        return torch.optim.AdamW([pulled, *others], lr=config.learning_rate)

    def edit_gradients(self, model: nn.Module) -> None:
        """Add the gradient of the coupled form. For the decoupled form, check that Adam will step."""
        if self.settings.form != "coupled":
            self.is_step = has_finite_gradients(model)
            return
        for name, weight in self.pulled.items():
            if weight.grad is not None:
                weight.grad.add_(weight.detach() - self.pretrained[name], alpha=self.strength)

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the step of the decoupled form, unless Adam skips its own after an fp16 overflow."""
        if self.settings.form != "decoupled" or not self.is_step:
            return
        strength = optimizer.param_groups[0]["lr"] * self.strength
        for name, weight in self.pulled.items():
            pull_(weight, self.pretrained[name], strength)

    def finish(self, model: nn.Module) -> nn.Module:
        """Return the model, and free the copies."""
        self.pretrained, self.pulled = {}, {}
        return model
