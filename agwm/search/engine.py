"""The engine that wires the two problems, shows progress, validates, checkpoints and resumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from agwm.checkpoints import Stage
from agwm.errors import ConfigError
from agwm.files import save_tree
from agwm.finiteness import check_weights
from agwm.hypergradient._betty import Engine, EngineConfig, quiet_betty
from agwm.peers import naming_lost
from agwm.processes import broadcast_, check_agreement, check_alone
from agwm.progress import Progress
from agwm.rng import RngState
from agwm.scores import plain_scores
from agwm.search.checkpoints import read_checkpoint, resuming
from agwm.search.checks import check_engine
from agwm.search.measures import alpha_by_weight, numbers_of
from agwm.search.problems import AttentionProblem, TaskWeightProblem

__all__ = ["Log", "MixupEngine", "Validate"]

Validate = Callable[["MixupEngine"], Mapping[str, float]]
Log = Callable[[int, Mapping[str, float]], object]


class MixupEngine(Engine):
    """A Betty ``Engine`` of one inner and one outer problem.

    Args:
        inner: The problem that owns W.
        outer: The problem that owns alpha.
        config: Betty's config: ``train_iters`` and ``valid_step`` (both count micro-batches of the inner
            loader, as in Betty) and ``roll_back``.
        validate: Called with the engine, the model in evaluation mode and without gradient; the mapping
            it returns is appended to ``history`` with the inner step. None: a subclass's ``validation``,
            Betty's hook, if there is one.
        phase: Name of this run in the progress bar.
        progress: Show the bar; None: only on a terminal.
        checkpoint: File to write the state to, every ``checkpoint_step`` steps and at the end.
        checkpoint_step: Inner steps between checkpoints; rounded up to a whole outer step.
        log: Called as ``log(step, numbers)`` with the numbers of :mod:`agwm.search.measures`, and with
            mean and spread of alpha by weight. It goes to no history.
        log_step: Inner steps between its calls; there is one at the end too.

    Attributes:
        inner: The inner problem.
        outer: The outer problem.
        history: A record every ``valid_step`` micro-batches, and at the end of a run if there is none yet:
            ``step``, the number of inner steps taken, what :func:`agwm.search.measures.numbers_of` returns,
            and what the validation returned.
        stage: Where :meth:`run` writes checkpoints and takes the search up from; None: nowhere.

    Raises:
        ConfigError: If the problems cannot be wired, or the config asks for what is not supported.
        ModelError: If the model cannot be differentiated by ``torch.autograd.grad``.
    """

    def __init__(
        self,
        inner: TaskWeightProblem,
        outer: AttentionProblem,
        config: EngineConfig | None = None,
        validate: Validate | None = None,
        phase: str = "search",
        progress: bool | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_step: int = 100,
        log: Log | None = None,
        log_step: int = 10,
    ) -> None:
        config = EngineConfig() if config is None else config
        check_engine(type(self), inner, outer, config)
        if checkpoint is not None:
            check_alone("checkpoint")
        self.history: list[dict[str, Any]] = []
        self.phase = phase
        self.progress = progress
        self.checkpoint = checkpoint
        self.checkpoint_step = checkpoint_step
        self.stage: Stage | None = None
        self.log_step = log_step
        self._validate, self._log = validate, log
        self._due: list[str] = []
        self._inner, self._outer = inner, outer
        dependencies = {"u2l": {outer: [inner]}, "l2u": {inner: [outer]}}
        with quiet_betty():
            super().__init__([outer, inner], config, dependencies)
        for problem in (inner, outer):
            problem.watch(phase, config.train_iters // inner.gas)
        mixup = inner.mixup
        broadcast_([*mixup.model.parameters(), *mixup.model.buffers()])
        broadcast_([*mixup.attention.parameters(), *mixup.pretrained.values()])

    def configure_systems(self) -> dict[str, Any]:
        """Run on the model's device (Betty takes CUDA if there is one)."""
        systems = super().configure_systems()
        self.device = next(self._inner.model.parameters()).device
        return systems

    @property
    def step(self) -> int:
        """Number of inner steps taken (``global_step`` counts micro-batches)."""
        return self.global_step // self._inner.gas

    @naming_lost()
    def run(self) -> None:
        """Run the remaining steps up to ``train_iters``, from where the engine stands.

        After an interruption (Ctrl-C, an error in a loss or in ``validate``) it goes on inside of the step
        that was interrupted, and ends as if nothing had been. What cannot be had so, such as an
        interruption in the middle of an optimizer's step, is refused by a ``HypergradientError``.

        Raises:
            DivergenceError: If a loss or a gradient is not finite, before the weights are changed, or a
                weight is not at the end.
            ProcessError: If one of several processes is lost, or their weights differ at the end.
        """
        if self.stage is not None and self.stage.take_up(self):
            return
        self.train()
        gas = self._inner.gas
        with Progress(self.phase, self.train_iters // gas, self.progress, self.step) as bar:
            self._report()
            while self.global_step < self.train_iters:
                self._step_once()
                if self.global_step % gas == 0:
                    bar.step(inner=self._inner.last_loss, outer=getattr(self._outer, "last_loss", None))
                self._report()
        with quiet_betty():
            self.cleanup()
        for module in (self._inner.module, self._outer.module):
            where = f" at the end of phase {self.phase!r}"
            check_weights(module, where, "Lower the learning rates.")
            check_agreement(dict(module.named_parameters()), where)
        if self.stage is not None:
            self.stage.finish(self)

    def _step_once(self) -> None:
        """Take a step, or the rest of one that was interrupted."""
        self.global_step += 1
        try:
            self.train_step()
        except BaseException:
            self.global_step -= 1
            raise
        self._due = ["log", "record", "checkpoint"]

    def _report(self) -> None:
        """Log, record and write a checkpoint, where it is due and was not done before an interruption."""
        is_last = self.global_step >= self.train_iters
        if "log" in self._due and self._log is not None and (is_last or self._is_logged()):
            alpha = alpha_by_weight(self._inner.mixup.attention)
            self._log(self.step, {**numbers_of(self._inner, self._outer), **alpha})
        self._due = [name for name in self._due if name != "log"]
        if "record" in self._due and self.global_step % self.valid_step == 0:
            self._record(self._is_validated)
        elif "record" in self._due and is_last and not self.history:
            self._record(False)
        self._due = [name for name in self._due if name != "record"]
        if "checkpoint" in self._due and self.checkpoint is not None and self._is_checkpoint_due():
            self.save_checkpoint(self.checkpoint)
        if "checkpoint" in self._due and self.stage is not None and not self.global_step % self._window:
            self._due = []
            self.stage.after_step(self)
        self._due = []

    def _is_logged(self) -> bool:
        return not self.global_step % (self.log_step * self._inner.gas)

    @property
    def _is_validated(self) -> bool:
        return self._validate is not None or self.is_implemented("validation")

    def validate(self) -> dict[str, Any]:
        """Validate in evaluation mode; append a record to ``history`` and return it.

        Raises:
            ConfigError: If there is nothing to call, or it does not return a mapping of numbers.
        """
        if not self._is_validated:
            raise ConfigError(
                "Nothing to validate with: expected validate= or a method validation, got neither."
                " Pass validate= to the engine."
            )
        return self._record(True)

    @torch.no_grad()
    def _record(self, is_validated: bool) -> dict[str, Any]:
        record = {"step": self.step, **numbers_of(self._inner, self._outer)}
        if is_validated:
            state = RngState.capture(self.device)
            self.eval()
            try:
                outcome = self.validation() if self._validate is None else self._validate(self)
            finally:
                self.train()
                state.restore()
            record |= plain_scores(outcome, "validate")
        self.history.append(record)
        return record

    @property
    def _window(self) -> int:
        """Micro-batches from one outer step to the next."""
        return self._inner._unroll_steps * self._inner.gas

    def _is_checkpoint_due(self) -> bool:
        if self.global_step % self._window:
            return False
        every = -(-self.checkpoint_step // self._inner._unroll_steps) * self._window
        is_last = self.global_step + self._window > self.train_iters
        return is_last or self.global_step % every == 0

    def save_checkpoint(self, path: str | Path) -> None:
        """Write everything that the next step depends on: a run resumed goes on bit for bit.

        Args:
            path: A file; safetensors, the structure in its metadata.

        Raises:
            ConfigError: If the step is not the end of an outer step, or was interrupted.
        """
        if self.global_step % self._window or self._inner.is_unfinished:
            got = "one that was interrupted" if self._inner.is_unfinished else self.global_step
            raise ConfigError(
                f"Checkpoint inside an outer step: expected a step divisible by {self._window}, got {got}."
                " Save after a whole outer step."
            )
        check_alone("save_checkpoint")
        save_tree(path, self.to_tree())

    def resume(self, path: str | Path) -> None:
        """Go on from a checkpoint that an engine built the same way wrote.

        Args:
            path: The file.

        Raises:
            DataError: If it cannot be read, was changed since, or is of an engine that was built otherwise.
                Weights, optimizers or loaders that do not fit are told before anything is changed.
        """
        check_alone("resume")
        tree = read_checkpoint(path, {"inner": self._inner, "outer": self._outer})
        with resuming(path):
            self.load_tree(tree)

    def to_tree(self) -> dict[str, Any]:
        """Return everything that the next step depends on, at the end of an outer step."""
        return {
            "global_step": self.global_step,
            "history": self.history,
            "inner": self._inner.to_tree(),
            "outer": self._outer.to_tree(),
            "rng": RngState.capture(self.device).to_tree(),
        }

    def load_tree(self, tree: Mapping[str, Any]) -> None:
        """Take back the state of :meth:`to_tree`."""
        self._inner.load_tree(tree["inner"])
        self._outer.load_tree(tree["outer"])
        RngState.from_tree(tree["rng"]).restore()
        self.global_step, self._due = tree["global_step"], []
        self.history = tree["history"]

    def result_tree(self) -> dict[str, Any]:
        """Return what the search leaves: W, buffers, alpha, the history."""
        return {
            "global_step": self.global_step,
            "history": self.history,
            "tensors": self._tensors(),
            "rng": RngState.capture(self.device).to_tree(),
        }

    @torch.no_grad()
    def load_result(self, tree: Mapping[str, Any]) -> None:
        """Take back the state of :meth:`result_tree`."""
        for name, tensor in self._tensors().items():
            tensor.copy_(tree["tensors"][name])
        RngState.from_tree(tree["rng"]).restore()
        self.global_step, self._due = tree["global_step"], []
        self.history = tree["history"]

    def _tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors that a search changes, by name: the tensors themselves."""
        model, attention = self._inner.module, self._outer.module
        return {
            **{f"W {name}": p.detach() for name, p in model.named_parameters() if p.requires_grad},
            **{f"buffer {name}": buffer for name, buffer in model.named_buffers()},
            **{f"alpha {name}": p.detach() for name, p in attention.named_parameters()},
        }
