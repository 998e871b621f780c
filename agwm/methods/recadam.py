"""RecAdam: pull weights towards their pretrained values, less and less as training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from agwm.checks import Fraction, NonNegative
from agwm.methods.method import OneLevelMethod, Settings
from agwm.methods.pull import copy_pretrained, pull_
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.training.config import TrainingConfig
from agwm.training.hooks import decay_groups

__all__ = ["RecAdam", "RecAdamOptimizer", "RecAdamSettings", "task_share"]


def task_share(annealing: str, progress: float, t0: float, steepness: float) -> float:
    r"""Return lambda, the task's share of the objective. The pull has the rest.

    .. math:: \lambda = \sigma(s (u - t_0)) \quad\text{or}\quad \min(1, u / t_0)

    Args:
        annealing: ``"sigmoid"`` or ``"linear"``.
        progress: u, the part of the steps taken so far, in (0, 1].
        t0: Part of the steps after which the sigmoid is one half, or the linear ramp ends.
        steepness: s, the steepness of the sigmoid per run.
    """
    if annealing == "linear":
        return 1.0 if progress >= t0 else progress / t0
    # tanh never overflows; exp could
    return 0.5 * (1.0 + math.tanh(0.5 * steepness * (progress - t0)))


class RecAdamOptimizer(torch.optim.Optimizer):
    r"""Adam whose step is shared between the task and a pull towards the pretrained weights.

    With the moments m and v of the task's gradient alone, and :math:`\lambda` of step t:

    .. math::
        W &\leftarrow W - \eta_t \lambda
             \frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \frac{m}{\sqrt v + \epsilon} \\
        W &\leftarrow W - \min(1, \eta_t (1-\lambda) \gamma) (W - W_0) \\
        W &\leftarrow W - \eta_t\, d\, W

    Parameters that are not pulled have :math:`\lambda = 1`; d is the weight decay of their group.

    Args:
        pulled: Parameters with a pretrained value, by name. They do not decay.
        others: Groups of the parameters without a pretrained value.
        pretrained: The pretrained values, by the same names. They are not part of ``state_dict``.
        learning_rate: eta, the learning rate.
        strength: gamma, the strength of the pull.
        share: Function from the number of a step, which starts at 1, to lambda.
        betas: Decay rates of the two moments.
        eps: Number added to the root of v, before the bias of v is corrected.
    """

    def __init__(
        self,
        pulled: Mapping[str, nn.Parameter],
        others: Iterable[dict[str, Any]],
        pretrained: Mapping[str, Tensor],
        *,
        learning_rate: float,
        strength: float,
        share: Callable[[int], float],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.pretrained, self.strength, self.share = dict(pretrained), strength, share
        first = {"params": list(pulled.values()), "names": list(pulled), "weight_decay": 0.0}
        defaults = {"lr": learning_rate, "betas": betas, "eps": eps, "weight_decay": 0.0, "names": None}
        super().__init__([first, *others], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: Function that computes the loss and its gradient; None: the gradient exists already.

        Returns:
            The value that ``closure`` returned, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            names = group["names"] or [None] * len(group["params"])
            for name, weight in zip(names, group["params"], strict=True):
                if weight.grad is not None:
                    self._update(name, weight, group)
        return loss

    def _update(self, name: str | None, weight: nn.Parameter, group: Mapping[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state.update(step=0, mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
        state["step"] += 1
        step, rate, (beta1, beta2) = state["step"], group["lr"], group["betas"]
        state["mean"].lerp_(weight.grad, 1 - beta1)
        state["square"].mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
        share = 1.0 if name is None else self.share(step)
        size = rate * share * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        weight.addcdiv_(state["mean"], state["square"].sqrt().add_(group["eps"]), value=-size)
        if name is not None:
            pull_(weight, self.pretrained[name], rate * (1 - share) * self.strength)
        if group["weight_decay"] > 0:
            weight.mul_(1 - rate * group["weight_decay"])


@dataclass(frozen=True)
class RecAdamSettings(Settings):
    """Settings of :class:`RecAdam`.

    Attributes:
        strength: gamma, the strength of the pull.
        annealing: Form in which the task's share rises: ``"sigmoid"`` or ``"linear"``.
        t0_ratio: Part of the steps after which the share is one half (sigmoid) or 1 (linear).
        steepness: Steepness of the sigmoid over a run. The paper's k is ``steepness / steps``.
    """

    strength: NonNegative = 5000.0
    annealing: Literal["sigmoid", "linear"] = "sigmoid"
    t0_ratio: Fraction = 0.25
    steepness: NonNegative = 20.0


class RecAdam(OneLevelMethod):
    """Finetuning that recalls the pretrained weights first and learns the task later.

    Training starts from the pretrained weights. The method pulls all parameters of the backbone, biases and
    norms too. Adam trains the head and all weights that the checkpoint does not hold.
    :class:`RecAdamOptimizer` takes the steps, and :func:`task_share` gives the task's share at each step
    of the run.

    Reference:
        Chen et al., "Recall and Learn", EMNLP 2020. Their code starts from random weights by default.
    """

    name = "recadam"
    acts_on = ("optimizer",)
    settings_class = RecAdamSettings
    pretrained: dict[str, Tensor]
    num_steps = 1

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Keep copies of the pretrained weights, and return the model."""
        self.pretrained = copy_pretrained(loaded)
        return loaded.model

    def make_optimizer(self, model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
        """Return the optimizer: RecAdam over the backbone, Adam over the head."""
        parameters = dict(model.named_parameters())
        return RecAdamOptimizer(
            {name: parameters[name] for name in self.pretrained},
            decay_groups(model, config.weight_decay, without=self.pretrained),
            self.pretrained,
            learning_rate=config.learning_rate,
            strength=self.settings.strength,
            share=self.share,
        )

    def before_training(self, model: nn.Module, batches: Iterable[Any], num_steps: int) -> None:
        """Remember the number of steps in the run."""
        self.num_steps = num_steps

    def share(self, step: int) -> float:
        """Return the task's share at a step. Steps count from 1."""
        own = self.settings
        return task_share(own.annealing, step / self.num_steps, own.t0_ratio, own.steepness)

    def finish(self, model: nn.Module) -> nn.Module:
        """Return the model, and free the copies."""
        self.pretrained = {}
        return model
