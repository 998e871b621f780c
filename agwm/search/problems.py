"""The two problems: the inner one learns the task weights W, the outer one alpha.

A task of your own overrides one method, ``loss(self, batch) -> Tensor``, of either or both. It is called
once a step, and again up to twice an outer step on the inner problem with the same batch and the same
random state: it must return a tensor of one number and be free of side effects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from agwm.checks import Precision, check_value
from agwm.errors import ConfigError, DataError, HypergradientError, OuterDivergenceError
from agwm.finiteness import StepCheck, largest_gradient
from agwm.hypergradient._betty import Config, HypergradientConfig
from agwm.hypergradient.hooks import warn_of_misspelt_hooks
from agwm.mixing.mixup import Mixup
from agwm.model_loss import model_loss
from agwm.search.explicit_part import ExplicitPart
from agwm.search.micro_passes import MicroPasses
from agwm.search.own_stream import OwnStream

__all__ = ["AttentionProblem", "TaskWeightProblem"]


class _MixupProblem(MicroPasses):
    """Base of the two problems: the mixup, the model and the loss."""

    _remedy = (
        "Lower the inner learning rate (search.learning_rate in a config) or the norm that gradients are"
        " clipped at (search.clipping), use precision 'fp32', and look at these examples."
    )

    def __init__(
        self,
        name: str,
        mixup: Mixup,
        module: nn.Module,
        loader: Iterable[Any] | None,
        optimizer: torch.optim.Optimizer | None,
        scheduler: Any,
        config: Config,
    ) -> None:
        check_value("precision", Precision, config.precision, "Pass precision='fp32'.")
        base = next(kind for kind in type(self).__mro__ if kind.__module__ == __name__)
        warn_of_misspelt_hooks(type(self), base)
        loader = None if loader is None else (loader,)
        super().__init__(name, config, module, optimizer, scheduler, loader)
        self.mixup = mixup
        self.phase = name
        self._check: StepCheck | None = None
        self._losses: dict[int, Tensor] = {}
        self._places: dict[int, str] = {}

    def patch_optimizer(self) -> None:
        """Keep the user's optimizer, if it can do this problem's work.

        Raises:
            ConfigError: If it is no optimizer, or holds none of the problem's parameters: the problem
                would learn nothing.
        """
        super().patch_optimizer()
        own = {id(parameter) for parameter in self.module.parameters()}
        groups = getattr(self.optimizer, "param_groups", None)
        if groups is None or not own.intersection(id(p) for group in groups for p in group["params"]):
            got = type(self.optimizer).__name__ + ("" if groups is None else " over others")
            raise ConfigError(
                f"Optimizer of problem {self.name!r} is not its own: expected one over parameters of"
                f" {type(self.module).__name__}, got {got}. The inner one is over"
                " mixup.model.parameters(), the outer one over mixup.attention.parameters()."
            )

    def watch(self, phase: str, num_steps: int) -> None:
        """Check each step from now on: loss and gradient have to be finite, or the run ends.

        Args:
            phase: Name of the run in messages.
            num_steps: Inner steps of the run.
        """
        self.phase = phase
        self._check = StepCheck(phase, self._remedy, num_steps)

    def get_loss(self, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        """Note the loss of each batch of a step, and where the batch comes from."""
        outcome = super().get_loss(batch)
        if self._recording.is_replaying:
            return outcome
        first = self._count - (self._count - 1) % self.gas
        self._losses = {n: loss for n, loss in self._losses.items() if first <= n < self._count}
        self._losses[self._count] = self.last_loss
        if not self._is_retaking:
            sources = self.train_data_loader or ()
            self._places[self._count] = "; ".join(str(source.place) for source in sources) or "its batch"
            self._places.pop(self._count - self.gas * self._unroll_steps, None)
        return outcome

    def check_step(self, total_norm: Tensor | float) -> None:
        """Raise unless losses and gradient of the step are finite."""
        if self._check is None:
            return
        if not self.gradient_clipping > 0.0:
            total_norm = largest_gradient(self.trainable_parameters())
        places = [self._places[number] for number in self._losses]
        self._check.look(
            self.step_number, [*self._losses.values()], total_norm, places, self.scaler is not None
        )

    @property
    def model(self) -> nn.Module:
        """The injected model: calling it uses the mixed weights."""
        return self.mixup.model

    def loss(self, batch: Any) -> Tensor:
        """Return the loss of a batch, a tensor of one number. Override it for a task of your own.

        Args:
            batch: One batch of this problem's loader, on the model's device.

        Returns:
            ``self.model(**batch).loss``: the loss that the Hugging Face model computes from ``labels``.

        Raises:
            DataError: If the batch is no mapping, or does not fit the model.
        """
        if not isinstance(batch, Mapping):
            raise DataError(
                f"Batch of problem {self.name!r} is unusable: expected a dict of the model's arguments, got"
                f" a {type(batch).__name__}. Collate to a dict, or override loss()."
            )
        return model_loss(self.model, batch)

    def training_step(self, batch: Any) -> Tensor:
        """Betty's name for :meth:`loss`.

        Raises:
            ConfigError: If the loss is not a tensor of one number.
        """
        loss = self.loss(batch)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            shape = f" of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else ""
            raise ConfigError(
                f"Loss of problem {self.name!r} is unusable: expected a tensor of one number, got"
                f" {type(loss).__name__}{shape}. Return it from {type(self).__name__}.loss()."
            )
        return loss.reshape(())


class TaskWeightProblem(ExplicitPart, _MixupProblem):
    r"""Inner problem: :math:`\min_W L(\hat W(W, \alpha, W_0); D_{tr})`, owns W.

    It is the inner class of ``examples/betty/weights_mixup.py``, hardened.

    Args:
        mixup: The result of ``agwm.inject``.
        loader: Batches of the inner split.
        optimizer: Over ``mixup.model.parameters()``; used as it is, param groups included.
        scheduler: Scheduler of that optimizer, stepped once an inner step; None: a constant rate.
        config: Betty's config; the hypergradient's settings are read from it.
        name: Attribute of the engine by which the problem is found.

    Reference:
        Somayajula et al., NAACL 2024, the inner level. Weight decay is the optimizer's.
    """

    def __init__(
        self,
        mixup: Mixup,
        loader: Iterable[Any] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        config: Config | None = None,
        name: str = "inner",
    ) -> None:
        config = HypergradientConfig() if config is None else config
        super().__init__(name, mixup, mixup.model, loader, optimizer, scheduler, config)


class AttentionProblem(OwnStream, _MixupProblem):
    r"""Outer problem: :math:`\min_\alpha L(\hat W(W^*(\alpha), \alpha, W_0); D_{val})`, owns alpha.

    When its optimizer steps, ``.grad`` of ``mixup.attention`` holds the whole hypergradient (direct and
    indirect term). After the step alpha is projected to [0, 1]. In the frozen form there is nothing to
    learn, and the outer step is left out.

    An outer step draws from a random stream of its own, which the random state before the first one
    decides: the inner passes see the dropout masks that they would see without it. What a subclass draws
    from the global generators of Python, numpy and torch, or from a generator that the inner problem knows,
    belongs to the stream too.

    Args:
        mixup: The result of ``agwm.inject``.
        loader: Batches of the outer split.
        optimizer: Over ``mixup.attention.parameters()``; used as it is.
        scheduler: Scheduler of that optimizer, stepped once an outer step; None: a constant rate.
        config: Betty's config.
        name: Attribute of the engine by which the problem is found.

    Reference:
        Somayajula et al., NAACL 2024, the outer level.
    """

    _remedy = (
        "Lower the learning rates (search.attention_learning_rate in a config) or hypergradient.epsilon,"
        " and look at these examples."
    )

    def __init__(
        self,
        mixup: Mixup,
        loader: Iterable[Any] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        config: Config | None = None,
        name: str = "outer",
    ) -> None:
        config = Config() if config is None else config
        super().__init__(name, mixup, mixup.attention, loader, optimizer, scheduler, config)

    def to_tree(self) -> dict[str, Any]:
        """Return all state, with the numbers of the last step that a record of the next may hold."""
        loss = None if getattr(self, "last_loss", None) is None else float(self.last_loss)
        return {**super().to_tree(), "last_loss": loss, "term_norms": self.term_norms}

    def load_tree(self, tree: Mapping[str, Any]) -> None:
        """Take back the state of :meth:`to_tree`."""
        super().load_tree(tree)
        if tree["last_loss"] is not None:
            self.last_loss = torch.tensor(tree["last_loss"], dtype=torch.float64)
        self.term_norms = dict(tree["term_norms"])

    def step_normal(self, global_step: int | None = None) -> None:
        """Take an outer step, unless alpha is frozen."""
        if self.mixup.attention.is_trainable:
            super().step_normal(global_step)
        else:
            self.ready = [False] * len(self._children)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Set the hypergradient; see :meth:`agwm.hypergradient.search_step.SearchStep.backward`.

        Raises:
            HypergradientError: If it is not finite.
            OuterDivergenceError: If the outer loss is not; names the batch.
        """
        try:
            super().backward(loss, *args, **kwargs)
        except HypergradientError as error:
            value = float(self.last_loss)
            if math.isfinite(value):
                raise
            place, phase = self._places[self._count], self.phase
            raise OuterDivergenceError(
                f"{error} The outer loss in phase {phase!r} is {value} on {place}."
            ) from None

    def param_callback(self) -> None:
        """Project alpha to [0, 1]; a hook of Betty's, here for a ``super()`` in a subclass."""
        self.mixup.project_()

    def _after_step(self) -> None:
        # after Betty's hooks: a user's own does not end the projection
        self.mixup.project_()
