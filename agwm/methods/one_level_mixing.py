"""Mix weights without two levels: alpha is drawn once and fixed, or learned together with W."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from agwm.checks import NonNegative
from agwm.errors import ConfigError
from agwm.methods.method import OneLevelMethod, Settings
from agwm.methods.pretrained_weights import inject_pretrained
from agwm.methods.two_level import summaries
from agwm.mixing.alpha import Attention
from agwm.mixing.mixup import Mixup
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig, MixingConfig
from agwm.training.config import TrainingConfig
from agwm.training.hooks import make_optimizer

__all__ = ["JointAlpha", "JointAlphaSettings", "RandomAlpha", "RandomAlphaSettings"]


class _Mixed(OneLevelMethod):
    acts_on: ClassVar[tuple[str, ...]] = ("reparametrization",)
    sections = ("vanilla", "mixing")
    mixup: Mixup
    initial: Attention

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if nothing can be mixed, or the settings hold alpha at 1.

        Raises:
            ConfigError: If the settings hold alpha at 1, which is vanilla finetuning.
            SelectionError: If no weight can be mixed.
        """
        if not recipe.mixing.learns_alpha:
            raise ConfigError(
                f"Method {self.name!r} would be vanilla finetuning: expected an alpha that is not"
                f" held at 1, got mixing.alpha {recipe.mixing.alpha!r}. Choose another form of alpha, or"
                " method vanilla."
            )
        inject_pretrained(loaded, recipe.mixing).remove()

    def alpha(self) -> dict[str, dict[str, float]]:
        """Return name of a mixed weight -> numbers on its alpha for the record."""
        return summaries(self.mixup.attention, self.initial)

    def inject(self, loaded: Pretrained, mixing: MixingConfig, seed: int) -> None:
        """Inject mixed weights, and keep a copy of the initial alpha."""
        self.mixup = inject_pretrained(loaded, mixing, seed)
        self.initial = copy.deepcopy(self.mixup.attention)

    def finish(self, model: nn.Module) -> nn.Module:
        """Write the mixed weights into the model."""
        self.mixup.merge()
        return model


@dataclass(frozen=True)
class RandomAlphaSettings(Settings):
    """Settings of :class:`RandomAlpha`.

    Attributes:
        init_std: Standard deviation of the factors of alpha around 1, before the projection to [0, 1].
    """

    init_std: NonNegative = 0.005


class RandomAlpha(_Mixed):
    r"""The paper's ablation: :math:`\hat W = \alpha W + (1-\alpha) W_0` with alpha random and fixed.

    Reference:
        Somayajula et al., NAACL 2024, ablation with random attention parameters.
    """

    name = "random_alpha"
    settings_class = RandomAlphaSettings

    def unused(self) -> frozenset[str]:
        """Return the settings that have no effect. The method has an ``init_std`` of its own."""
        return super().unused() | {"mixing.init_std"}

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Inject mixed weights whose alpha takes no gradient."""
        mixing = dataclasses.replace(recipe.mixing, init_std=self.settings.init_std)
        self.inject(loaded, mixing, seed)
        self.mixup.attention.requires_grad_(False)
        return loaded.model


@dataclass(frozen=True)
class JointAlphaSettings(Settings):
    """Settings of :class:`JointAlpha`.

    Attributes:
        attention_learning_rate: Peak learning rate of AdamW on alpha. It follows W's schedule.
    """

    attention_learning_rate: NonNegative = 2e-3


class JointAlpha(_Mixed):
    """The paper's ablation without two levels: AdamW trains W and alpha together on one loss.

    The method projects alpha to [0, 1] after every step.

    Reference:
        Somayajula et al., NAACL 2024, ablation with joint training of W and alpha.
    """

    name = "joint_alpha"
    learns_alpha = True
    acts_on = ("reparametrization", "optimizer")
    settings_class = JointAlphaSettings

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Inject mixed weights."""
        self.inject(loaded, recipe.mixing, seed)
        return loaded.model

    def make_optimizer(self, model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
        """Return AdamW over W and alpha. Alpha has its own learning rate and no weight decay."""
        optimizer = make_optimizer(model, config)
        optimizer.add_param_group(
            {
                "params": list(self.mixup.attention.parameters()),
                "lr": self.settings.attention_learning_rate,
                "weight_decay": 0.0,
            }
        )
        return optimizer

    def after_step(self, model: nn.Module) -> None:
        """Project alpha to [0, 1]."""
        self.mixup.project_()
