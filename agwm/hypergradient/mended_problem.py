"""Repairs of Betty's ``ImplicitProblem``, so that a user's parts are the ones that run.

``MendedProblem`` stands between the user's class and Betty's. It mends what betty-ml 0.2.1 does to the
optimizer, scheduler, batches, frozen parameters and precision.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agwm.batch_rows import num_examples
from agwm.batches import BatchSource, to_device
from agwm.errors import ConfigError
from agwm.hypergradient._betty import ImplicitProblem
from agwm.processes import num_processes, share_of
from agwm.rng import RngState

__all__ = ["MendedProblem"]

_OTHER_STRATEGIES = ("zero", "fsdp", "accelerate")  # Betty wraps the optimizer itself


class MendedProblem(ImplicitProblem):
    """Betty's ``ImplicitProblem``, repaired."""

    scheduler: Any
    train_data_loader: Any

    def initialize(self) -> None:
        """Set up the problem, and check that its optimizer can step it.

        Raises:
            ConfigError: If the optimizer waits for a closure, or holds parameters of others.
        """
        self._broken: dict[int, dict[str, Any]] = {}
        self._shares: dict[int, float] = {}  # by number of the micro-batch
        self._spare: dict[int, Any] = {}
        super().initialize()
        if self._strategy not in _OTHER_STRATEGIES:
            self._check_optimizer()

    def _check_optimizer(self) -> None:
        closure = inspect.signature(self.optimizer.step).parameters.get("closure")
        is_waiting = closure is not None and closure.default is inspect.Parameter.empty
        if is_waiting and not self.is_implemented("custom_optimizer_step"):
            raise ConfigError(
                f"Optimizer of problem {self.name!r} is unusable: expected one whose step() needs no"
                f" closure, got {type(self.optimizer).__name__}. Use SGD, Adam or AdamW."
            )
        own = {id(p) for p in [*self.module.parameters(), *self.trainable_parameters()]}
        strangers = [
            tuple(parameter.shape)
            for group in self.optimizer.param_groups
            for parameter in group["params"]
            if parameter.requires_grad and id(parameter) not in own
        ]
        if strangers:
            raise ConfigError(
                f"Optimizer of problem {self.name!r} holds parameters that never learn: expected those of"
                f" its module {type(self.module).__name__}, got {len(strangers)} of others, the first of"
                f" shape {strangers[0]}. Take them out, or return them in trainable_parameters."
            )

    def patch_optimizer(self) -> None:
        """Keep the user's optimizer, param groups and all (Betty rebuilds it from its defaults).

        The hook ``param_groups`` is honoured as Betty honours it: the groups that it returns take the place
        of those of the optimizer, and the optimizer's defaults fill in what a group leaves open.

        Raises:
            ConfigError: If the problem has no optimizer.
        """
        if self._strategy in _OTHER_STRATEGIES:
            super().patch_optimizer()
            return
        if self.optimizer is None:
            raise ConfigError(
                f"Problem {self.name!r} has no optimizer: expected one, got None."
                " Pass optimizer= or define configure_optimizer."
            )
        if self.is_implemented("param_groups"):
            groups = list(self.param_groups())
            is_named = bool(groups) and isinstance(groups[0], dict)
            self.optimizer.param_groups.clear()
            for group in groups if is_named else [{"params": groups}]:
                self.optimizer.add_param_group(dict(group))

    def patch_scheduler(self) -> None:
        """Keep the user's scheduler (Betty rebuilds it from its attributes).

        With the hook ``param_groups`` it is rebuilt as Betty does it: the user's was made for other groups.

        Raises:
            ConfigError: If the scheduler waits for a metric, or cannot be rebuilt.
        """
        kind = type(self.scheduler).__name__
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise ConfigError(
                f"Scheduler of problem {self.name!r} waits for a metric: expected one that steps by itself,"
                " got ReduceLROnPlateau. Leave it out and step it in validate."
            )
        if self._strategy in _OTHER_STRATEGIES:
            super().patch_scheduler()
        elif self.is_implemented("param_groups"):
            try:
                super().patch_scheduler()
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise ConfigError(
                    f"Scheduler of problem {self.name!r} does not fit the groups of param_groups: expected"
                    f" one that Betty can rebuild, got {kind} ({error}). Put the groups into the optimizer"
                    " instead of the hook."
                ) from None

    def trainable_parameters(self) -> list[torch.nn.Parameter]:
        """Return the parameters that take gradient (Betty takes all, and a frozen one raises)."""
        return [p for p in super().trainable_parameters() if p.requires_grad]

    def zero_grad(self) -> None:
        """Drop the gradients of the problem's parameters, and of all that its optimizer would step."""
        super().zero_grad()
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def patch_everything(self) -> None:
        """Patch, and wrap what a user's ``patch_data_loader`` returned."""
        super().patch_everything()
        if self.train_data_loader is not None:
            self.train_data_loader = [_as_source(loader) for loader in self.train_data_loader]

    def patch_data_loader(self, loader: Any) -> BatchSource:
        """Wrap the loader so that its place can be kept."""
        return _as_source(super().patch_data_loader(loader))

    def get_batch_single_loader(self, idx: int) -> Any:
        """Return the next batch; mappings as dicts, and the loader's own batch untouched.

        Several processes begin an epoch together. One that has no batch left before takes its last one
        again, which then counts for nothing.
        """
        batch = self._next(idx)
        share = self._share(idx, batch)
        if share is None:
            if idx == 0:
                self.epoch_callback_exec()
            self.epoch_counter[idx] += 1
            self.train_data_iterator[idx] = iter(self.train_data_loader[idx])
            batch = self._next(idx)
            share = self._share(idx, batch) or 0.0
        if num_processes() > 1:
            batch = self._spare[idx] if batch is None else batch
            self._spare[idx] = batch
            if idx == 0:
                self._shares[self._count] = share
                self._shares.pop(self._count - self.gas * self._unroll_steps, None)
        return to_device(batch, self.device)

    def _share(self, idx: int, batch: Any) -> float | None:
        """Return what the loss of a batch is multiplied by; None if no process has one."""
        if num_processes() == 1:
            return None if batch is None else 1.0
        told = self.train_data_loader[idx].share
        if batch is not None and told is not None:
            return told
        return share_of(0 if batch is None else num_examples(batch), self.device)

    @property
    def _micro_batch(self) -> int:
        """Number of the micro-batch of the present pass."""
        return self._count

    def _next(self, idx: int) -> Any:
        """Take a batch, None at the end of an epoch; a loader that raised is begun anew at its place."""
        source = self.train_data_loader[idx]
        random, generators = RngState.capture(), source.generator_states()
        try:
            if idx in self._broken:
                self.train_data_iterator[idx] = source.resume(self._broken[idx])
                del self._broken[idx]
            return next(self.train_data_iterator[idx], None)
        except BaseException:
            if idx not in self._broken:
                self._broken[idx] = {**source.to_tree(), "generators": generators}
            random.restore()
            raise

    def training_step_exec(self, batch: Any) -> Any:
        """Run ``training_step`` under autocast of the device the model is on (Betty: CUDA's only)."""
        # A step may be taken again on the same batch: taking a key out must not last.
        batch = dict(batch) if isinstance(batch, dict) else batch
        if self.precision == "fp32" or self._strategy == "accelerate":
            return self.training_step(batch)
        with torch.autocast(torch.device(self.device).type, dtype=self.dtype):
            return self.training_step(batch)

    def get_loss(self, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        """Return the loss, scaled, and the numbers to log, without waiting for the device.

        Raises:
            ConfigError: If the loss is not a tensor of one number.
        """
        outcome = self.training_step_exec(batch)
        named = dict(outcome) if isinstance(outcome, dict) else {"loss": outcome}
        loss = named.pop("loss", None)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise ConfigError(
                f"Loss of problem {self.name!r} is unusable: expected a tensor of one number, got"
                f" {type(loss).__name__} {tuple(getattr(loss, 'shape', ()))}. Return it from loss()."
            )
        self.last_loss = loss.detach()
        share = self._shares.get(self._micro_batch, 1.0)
        shared = loss if share == 1.0 else loss * share
        scaled = shared if self.scaler is None else self.scaler.scale(shared)
        return scaled / self.gas, {"loss": self.last_loss, **named}

    def to_tree(self) -> dict[str, Any]:
        """Return all state of the problem (Betty leaves out steps, data order and epochs)."""
        return {
            **self.state_dict(),
            "count": self._count,
            "epochs": self.epoch_counter or [],
            "sources": [source.to_tree() for source in self.train_data_loader or ()],
        }

    def load_tree(self, tree: Mapping[str, Any]) -> None:
        """Take back the state of :meth:`to_tree`; the loaders go on where they were."""
        self.load_state_dict(dict(tree))
        self._count = tree["count"]
        self._broken = {}
        self.epoch_counter = list(tree["epochs"])
        self.train_data_iterator = [
            source.resume(place)
            for source, place in zip(self.train_data_loader or (), tree["sources"], strict=True)
        ]


def _as_source(loader: Any) -> BatchSource:
    return loader if isinstance(loader, BatchSource) else BatchSource(loader)
