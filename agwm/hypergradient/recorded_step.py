"""Recording of the inner step that is to be differentiated, and taking it again after a roll-back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agwm.errors import HypergradientError
from agwm.forward_pass import ForwardPass
from agwm.hypergradient.carried import carry_
from agwm.hypergradient.hooks import check_names, owner_of
from agwm.hypergradient.inner_step import StepTrace, inner_step
from agwm.hypergradient.optimizers import check_optimizer, decays
from agwm.hypergradient.pass_state import PassState
from agwm.hypergradient.recording import Recording, refuse_opaque, refuse_unrecorded
from agwm.hypergradient.settings import HYPERGRADIENT_TYPE, Hypergradient
from agwm.hypergradient.whole_step import WholeStep
from agwm.processes import average_gradients_
from agwm.rng import replay
from agwm.shards import any_sharded, whole

__all__ = ["RecordedStep", "learning"]

_OPAQUE = ("custom_optimizer_step", "grad_callback", "param_callback", "set_grads")


def learning(problem: Any) -> list[torch.nn.Parameter]:
    """Return the parameters of a problem that take gradient, also where a user's class lists others."""
    return [p for p in problem.trainable_parameters() if p.requires_grad]


class RecordedStep(WholeStep):
    """Step of a problem that is differentiated, or that lies above one that is."""

    @property
    def hypergradient(self) -> Hypergradient:
        """Settings of the hypergradient, read from this problem's config."""
        return Hypergradient.of(getattr(self.config, "hypergradient", None))

    @property
    def step_number(self) -> int:
        """Number of the present optimizer step, counted from 1."""
        return (self._count - 1) // self.gas + 1

    @property
    def _micro_batch(self) -> int:
        now = self._recording
        return now.replayed if now.is_replaying else super()._micro_batch

    @property
    def _is_retaking(self) -> bool:
        return self._recording.present is not None

    @property
    def _is_last_before_outer(self) -> bool:
        """True if the present micro-batch belongs to the last optimizer step before an outer step."""
        is_live = self._is_differentiated and self._training and not self._is_retaking
        return is_live and self.step_number % self._unroll_steps == 0

    @property
    def _is_recorded(self) -> bool:
        return self._is_last_before_outer and self.hypergradient.order == "second"

    @property
    def _is_exact(self) -> bool:
        """True if the derivative of the very step that is being taken will be asked for."""
        return self._is_recorded and self.hypergradient.best_response == "optimizer"

    @property
    def _notes_slopes(self) -> bool:
        """True if the present step is one whose explicit part will be asked for."""
        settings, is_live = self.hypergradient, self._training and not self._is_retaking
        if settings.scheme != "explicit" or settings.order == "first" or not is_live:
            return False
        # under "identity" the last step alone is differentiated
        is_one = self._is_last_before_outer or settings.best_response != "identity"
        return self._is_differentiated and is_one and not self._recording.is_replaying

    def initialize(self) -> None:
        """Check what can be checked before the first step.

        Raises:
            HypergradientError: If the inner optimizer's step has no known derivative.
        """
        check_names(self)
        self._recording = Recording()
        super().initialize()
        self._is_sharded = any_sharded(self.module.parameters()) if self.module is not None else False
        settings = self.hypergradient
        self._is_differentiated = self.config.type == HYPERGRADIENT_TYPE and any(
            parent.module is None or parent.trainable_parameters() for parent in self._parents
        )
        if self.config.type == HYPERGRADIENT_TYPE and not self._is_differentiated:
            self._roll_back = False  # there is no outer step that could change what is retaken
        if not self._is_differentiated or settings.order == "first":
            return
        if settings.scheme == "explicit":
            self.check_explicit()
        if settings.best_response == "optimizer":
            check_optimizer(self.optimizer)
            for name in _OPAQUE:
                owner = owner_of(self, name)
                if owner is not None:
                    raise HypergradientError(
                        f"No derivative of {name}: expected the optimizer's own step, got a problem whose"
                        f" class {owner} defines that method. Use best_response='sgd' or 'identity'."
                    )

    def check_explicit(self) -> None:
        """Raise unless the problem offers an explicit part of its mixed derivative.

        Raises:
            HypergradientError: If it does not.
        """
        raise HypergradientError(
            f"Scheme 'explicit' does not fit problem {self.name!r}: expected a problem that offers its"
            f" explicit part, such as agwm.TaskWeightProblem, got {type(self).__name__}. Use scheme"
            " 'forward' or 'central'."
        )

    def load_tree(self, tree: Mapping[str, Any]) -> None:
        """Take back the state of :meth:`to_tree`, with nothing recorded."""
        super().load_tree(tree)
        self._recording = Recording()

    def _answering(self) -> list[torch.nn.Parameter]:
        """Return W, then the weights that only answer because clipping counts their gradients."""
        weights = [p for p in self.meta_trainable_parameters() if p.requires_grad]
        if self.gradient_clipping > 0.0 and self.hypergradient.best_response == "optimizer":
            known = {id(weight) for weight in weights}
            weights += [p for p in learning(self) if id(p) not in known]
        return weights

    def step_normal(self, global_step: int | None = None) -> None:
        """Take a step; see :class:`WholeStep`."""
        count = self._count
        super().step_normal(global_step)
        if self._count > count and self._is_simple_outer(self._paths):
            if "backward" not in self._recording.reached:
                refuse_unrecorded(self, "one_step_descent", "backward")

    def one_step_descent(self, batch: Any = None) -> dict[str, Any]:
        """Take a micro-batch, and see that it was recorded; see :class:`WholeStep`."""
        now = self._recording
        if not self._standing.has_gradient:
            now.reached.clear()
        numbers = super().one_step_descent(batch)
        now.terms = {}
        if self._is_recorded and self._count % self.gas == 0 and "optimizer_step" not in now.reached:
            refuse_unrecorded(self, "optimizer_step")
        return numbers

    def get_loss(self, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        """Remember the batch and the state before the pass of the steps that are taken again."""
        now, moment, number = self._recording, self._standing.moment, self._count
        if now.is_replaying:
            shown = self.last_loss
            found = super().get_loss(batch)
            self.last_loss = shown
            return found
        now.reached.add("get_loss")
        is_live = self._is_differentiated and self._training and not self._is_retaking
        if moment is not None and is_live and self._roll_back:
            if (number - 1) % (self.gas * self._unroll_steps) == 0:
                now.window = {}
            now.window[number] = moment
        if moment is not None and self._is_last_before_outer:
            if (number - 1) % self.gas == 0:
                now.trace = StepTrace()
            now.trace.batches[number] = moment
        with ForwardPass() as now.forward:
            found = super().get_loss(batch)
        if moment is not None and self._is_last_before_outer:
            moment[1].note_results()
        return found

    def clip_grad(self) -> None:
        """Clip the gradients by their norm, and keep the norm."""
        now, parameters = self._recording, learning(self)
        if self._is_exact and not now.is_marked(parameters):
            refuse_opaque(self, "clip_grad")
        now.reached.add("clip_grad")
        now.total_norm = whole(torch.nn.utils.clip_grad_norm_(parameters, self.gradient_clipping))
        now.mark(parameters)

    def check_step(self, total_norm: Tensor | float) -> None:
        """Look at losses and gradients right before the optimizer's step; for problems that do."""

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step the optimizer after unscaling and clipping; record it where it is differentiated."""
        now, parameters, settings = self._recording, learning(self), self.hypergradient
        records, is_exact, trace = self._is_recorded, self._is_exact, self._recording.trace
        carries = self._notes_slopes and self._unroll_steps > 1
        now.reached.add("optimizer_step")
        if is_exact and not ("backward" in now.reached and now.is_marked(parameters)):
            refuse_opaque(self, "backward", "optimizer_step")
        average_gradients_(parameters)  # before unscaling: an overflow anywhere is seen by every process
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        now.total_norm = 0.0
        if self.gradient_clipping > 0.0:
            now.mark(parameters)
            self.clip_grad()
            if is_exact and not ("clip_grad" in now.reached and now.is_marked(parameters)):
                refuse_opaque(self, "clip_grad")
        self.check_step(now.total_norm)
        if records or carries:
            weights, before = self._answering(), None
            if settings.differentiates_before_step and (
                settings.takes_difference or decays(self.optimizer)
            ):
                before = [weight.detach().clone() for weight in weights]
            limit = float(self.gradient_clipping)
            step = inner_step(self.optimizer, weights, before, float(now.total_norm), limit)
            if records:
                trace.step, trace.weights, trace.count = step, before, self._count
        is_skipped = False
        if self.is_implemented("custom_optimizer_step"):
            self.custom_optimizer_step(*args, **kwargs)
        elif self.scaler is not None:
            scale = self._scale()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            is_skipped = self._scale() < scale
        else:
            self.optimizer.step()
        if records:
            trace.is_skipped = is_skipped
        if records or carries:
            step.take_states(self.optimizer, weights)
        if carries:
            is_first = (self.step_number - 1) % self._unroll_steps == 0
            carried = {} if is_first else now.carried
            if not is_skipped:
                # the last step's own part is exact, and is made when v is known
                carry_(carried, {} if records else now.slopes, weights, step, settings.best_response)
            now.carried = {} if records else carried
            trace.carried = {w: one.weight for w, one in carried.items()} if records else {}
        if records:
            trace.slopes = now.slopes
        now.slopes = {}  # as large as W: it does not stay until the next backward

    def step_after_roll_back(self) -> None:
        """Go back to before the unrolled steps and take all of them again, with the new alpha.

        The same batches in the same dropout masks and buffers: what differs is alpha alone. (Betty takes
        the last micro-batch only, whatever ``unroll_steps`` and ``gradient_accumulation`` are.)
        """
        if not (self._roll_back and self._is_differentiated and not self._paths):
            super().step_after_roll_back()
            return
        if not (self.check_ready() and self._training):
            return
        self._check_whole()
        now = self._recording
        if now.present is None:
            present, now.todo = PassState.capture(self._scope), sorted(now.window)
            with self._half_done("the roll-back"):
                self.recover_states()
            now.present = present
        end = self._count
        try:
            while now.todo:
                self._count = number = now.todo[0]
                batch, state = now.window[number]
                with replay(state):
                    self.one_step_descent(batch=batch)
                now.todo.pop(0)
                if self.scheduler is not None and number % self.gas == 0:
                    with self._half_done("the scheduler's step"):
                        self.scheduler.step()
        finally:
            self._count = end
        now.present.restore()
        now.present, now.window = None, {}
        for parent in self._parents:
            parent.ready[parent.children.index(self)] = True
            parent.step_after_roll_back()

    def _is_simple_outer(self, paths: list[list[Any]]) -> bool:
        """True if this problem lies directly above one inner problem of our type."""
        return len(paths) == 1 and len(paths[0]) == 3 and paths[0][1].config.type == HYPERGRADIENT_TYPE

    def _scale(self) -> float:
        return 1.0 if self.scaler is None else self.scaler.get_scale()
