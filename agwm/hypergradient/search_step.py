"""The search step: one recorded inner step, one outer backward, one finite difference.

``SearchStep`` records the inner step that is to be differentiated (its batches, the random state of
its forward passes, W before it, what the optimizer did), gets the direct term and the gradient by W from
one backward of the outer loss, and adds the indirect term by a finite difference in the same dropout
masks. It knows nothing of mixing: it is registered with Betty under ``Config(type="agwm")``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from agwm.errors import HypergradientError
from agwm.forward_pass import ForwardPass
from agwm.hypergradient._betty import MendedProblem, register
from agwm.hypergradient.best_response import check_optimizer
from agwm.hypergradient.finite_difference import global_norm
from agwm.hypergradient.indirect import check_finite, indirect_term
from agwm.hypergradient.inner_step import StepTrace, filled, first_rows, inner_step, owned
from agwm.hypergradient.settings import HYPERGRADIENT_TYPE, Hypergradient
from agwm.processes import average_, average_gradients_
from agwm.rng import RngState, replay

__all__ = ["SearchStep"]

_OPAQUE_HOOKS = ("custom_optimizer_step", "grad_callback", "param_callback")


class SearchStep(MendedProblem):
    """Mixin: agwm's search step for Betty's ``ImplicitProblem``; it comes first among the bases."""

    @property
    def hypergradient(self) -> Hypergradient:
        """Settings of the hypergradient, read from this problem's config."""
        return Hypergradient.of(getattr(self.config, "hypergradient", None))

    @property
    def step_number(self) -> int:
        """Number of the present optimizer step, counted from 1."""
        return (self._count - 1) // self.gas + 1

    @property
    def _is_last_before_outer(self) -> bool:
        """True if the present micro-batch belongs to the last optimizer step before an outer step."""
        is_live = self._is_differentiated and self._training and not self._is_retaking
        return is_live and self.step_number % self._unroll_steps == 0

    def initialize(self) -> None:
        """Check what can be checked before the first step.

        Raises:
            HypergradientError: If the inner optimizer's step has no known derivative.
        """
        super().initialize()
        self._trace = StepTrace()
        self._window: list[tuple[Any, RngState]] = []
        self._is_retaking = False
        self._forward = ForwardPass()
        settings = self.hypergradient
        self._is_differentiated = self.config.type == HYPERGRADIENT_TYPE and any(
            parent.trainable_parameters() for parent in self._parents
        )
        if self.config.type == HYPERGRADIENT_TYPE and not self._is_differentiated:
            self._roll_back = False  # there is no outer step that could change what is retaken
        if not self._is_differentiated or settings.order == "first":
            return
        if settings.best_response == "optimizer":
            check_optimizer(self.optimizer)
            for hook in filter(self.is_implemented, _OPAQUE_HOOKS):
                raise HypergradientError(
                    f"No derivative of {hook}: expected the optimizer's own step, got a problem that"
                    " defines that hook. Use best_response='sgd' or 'identity'."
                )

    def get_loss(self, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        """Remember the batch and the random state of the steps that are taken again."""
        keeps = self._is_differentiated and self._roll_back and self._training and not self._is_retaking
        if keeps or self._is_last_before_outer:
            moment = (batch, RngState.capture(self.device))
        if keeps:
            if (self._count - 1) % (self.gas * self._unroll_steps) == 0:
                self._window = []
            self._window.append(moment)
        if self._is_last_before_outer:
            if (self._count - 1) % self.gas == 0:
                self._trace = StepTrace()
            self._trace.batches.append(moment)
        with ForwardPass() as self._forward:
            return super().get_loss(batch)

    def check_step(self, total_norm: Tensor | float) -> None:
        """Look at losses and gradients right before the optimizer's step; for problems that do."""

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step the optimizer after unscaling and clipping; record it where it is differentiated."""
        parameters, weights = self.trainable_parameters(), self.meta_trainable_parameters()
        average_gradients_(parameters)  # before unscaling: an overflow anywhere is seen by every process
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        total_norm: Tensor | float = 0.0
        if self.gradient_clipping > 0.0:
            total_norm = torch.nn.utils.clip_grad_norm_(parameters, self.gradient_clipping)
        self.check_step(total_norm)
        records = self._is_last_before_outer and self.hypergradient.order == "second"
        if records:
            trace = self._trace
            if self.hypergradient.differentiates_before_step:
                trace.weights = [weight.detach().clone() for weight in weights]
            step = trace.step = inner_step(
                self.optimizer, weights, trace.weights, float(total_norm), float(self.gradient_clipping)
            )
        if self.is_implemented("custom_optimizer_step"):
            self.custom_optimizer_step(*args, **kwargs)
        elif self.scaler is not None:
            scale = self._scale()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if records:
                trace.is_skipped = self._scale() < scale
        else:
            self.optimizer.step()
        if records:
            step.take_states(self.optimizer, weights)

    def step_after_roll_back(self) -> None:
        """Go back to before the unrolled steps and take all of them again, with the new alpha.

        The same batches in the same dropout masks: what differs is alpha alone. (Betty takes the last
        micro-batch only, whatever ``unroll_steps`` and ``gradient_accumulation`` are.)
        """
        if not (self._roll_back and self._is_differentiated and not self._paths):
            super().step_after_roll_back()
            return
        if not (self.check_ready() and self._training):
            return
        self.recover_states()
        self._is_retaking = True
        end = self._count
        try:
            for number, (batch, state) in enumerate(self._window, end - len(self._window) + 1):
                self._count = number
                with replay(state):
                    self.one_step_descent(batch=batch)
                if self.scheduler is not None and number % self.gas == 0:
                    self.scheduler.step()
        finally:
            self._count, self._is_retaking, self._window = end, False, []
        for parent in self._parents:
            parent.ready[parent.children.index(self)] = True
            parent.step_after_roll_back()

    def backward(
        self,
        loss: Tensor,
        params: list[torch.nn.Parameter],
        paths: list[list[Any]],
        create_graph: bool = False,
        retain_graph: bool = True,
        allow_unused: bool = True,
    ) -> None:
        """Set gradients: of an inner problem by W, of an outer one the whole hypergradient."""
        if self._is_simple_outer(paths):
            self._set_hypergradient(loss, params, paths[0][1])
        elif self._is_differentiated and not paths:
            self._set_inner_gradient(loss, params)
        else:
            # Betty walks the graph once for the direct term and once more for each path.
            super().backward(loss, params, paths, create_graph, retain_graph or bool(paths), allow_unused)

    def _is_simple_outer(self, paths: list[list[Any]]) -> bool:
        """True if this problem lies directly above one inner problem of our type."""
        return len(paths) == 1 and len(paths[0]) == 3 and paths[0][1].config.type == HYPERGRADIENT_TYPE

    def _scale(self) -> float:
        return 1.0 if self.scaler is None else self.scaler.get_scale()

    def _set_inner_gradient(self, loss: Tensor, params: list[torch.nn.Parameter]) -> None:
        settings = self.hypergradient
        reuses = self._is_last_before_outer and settings.reuses_inner_gradient
        uppers = [p for parent in self._parents for p in parent.trainable_parameters()] if reuses else []
        gradients = self._forward.gradients(loss, [*params, *uppers])
        self.set_grads(params, owned(gradients[: len(params)]))
        known = self._trace.upper_gradients
        for upper, gradient in zip(uppers, filled(gradients[len(params) :], uppers), strict=True):
            gradient = gradient / self._scale()
            known[id(upper)] = known[id(upper)] + gradient if id(upper) in known else gradient

    def _set_hypergradient(self, loss: Tensor, params: list[torch.nn.Parameter], inner: SearchStep) -> None:
        """Direct term and v from one backward; then the indirect term."""
        weights = inner.meta_trainable_parameters()
        is_first = inner.hypergradient.order == "first"
        wanted = params if is_first else [*params, *weights]
        gradients = owned(self._forward.gradients(loss, wanted))
        direct = average_(filled(gradients[: len(params)], params))
        if self.scaler is None:
            check_finite(inner.step_number, direct=float(global_norm(direct)))
        self.set_grads(params, direct)
        if not is_first:
            vector = average_(filled(gradients[len(params) :], weights))
            self.set_grads(params, inner.indirect_term(vector, self))

    def indirect_term(self, vector: list[Tensor], outer: SearchStep) -> list[Tensor]:
        """Return the indirect term of an outer problem's hypergradient, from the recorded inner step.

        Args:
            vector: v, the gradient of the outer loss by the weights of this problem; overwritten.
            outer: The problem whose parameters take the hypergradient.

        Returns:
            One tensor for each of its parameters; see :func:`agwm.hypergradient.indirect.indirect_term`.
            Under gradient scaling it is scaled as ``vector`` is. The outer scaler then skips a step that
            is not finite.

        Raises:
            HypergradientError: If it is not finite, the inner step is not there to differentiate, or its
                batches have no part of the size that ``batch_fraction`` asks for.
        """
        uppers, weights = outer.trainable_parameters(), self.meta_trainable_parameters()
        if self.hypergradient.order == "first":
            return [torch.zeros_like(upper) for upper in uppers]
        if self._trace.step is None:
            raise HypergradientError(
                f"No inner step to differentiate: expected one of problem {self.name!r} right below"
                f" {outer.name!r}, got one that a problem in between used already. Use two levels, or a"
                " type of Betty's own for the lowest of three."
            )
        indirect, norm = indirect_term(
            vector,
            weights,
            uppers,
            self._trace,
            self.hypergradient,
            lambda: self._upper_gradient(uppers),
            self._coarsest_dtype(weights, uppers),
            is_last=outer is self._parents[-1],
        )
        indirect = average_(indirect)
        if outer.scaler is None:
            check_finite(self.step_number, u=norm, indirect=float(global_norm(indirect)))
        return indirect

    def _upper_gradient(self, uppers: list[torch.nn.Parameter]) -> list[Tensor]:
        """Return the gradient of this problem's loss by ``uppers``, in the masks of the recorded step.

        The loss is a mean over examples, so the mean over a part of a batch stands for the whole.
        """
        total: list[Tensor] = []
        for batch, state in self._trace.batches:
            part = first_rows(batch, self.hypergradient.batch_fraction)
            with replay(state), torch.enable_grad():
                with ForwardPass() as forward:
                    outcome = self.training_step_exec(part)
                loss = (outcome["loss"] if isinstance(outcome, dict) else outcome) / self.gas
                loss = loss if self.scaler is None else self.scaler.scale(loss)
                gradients = filled(forward.gradients(loss, uppers), uppers)
            total = gradients if not total else list(torch._foreach_add(total, gradients))
        return [gradient / self._scale() for gradient in total]

    def _coarsest_dtype(self, *groups: Sequence[Tensor]) -> torch.dtype:
        """Return the dtype whose rounding the difference outweighs: alpha is float32 in a float64 model."""
        dtypes = {tensor.dtype for group in groups for tensor in group}
        if self.precision != "fp32":
            dtypes.add(self.dtype)
        return max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)


def finite_difference(
    vector: Sequence[Tensor], curr: SearchStep, prev: SearchStep, sync: bool
) -> list[Tensor] | None:
    """Give Betty the indirect term: registered under ``Config(type="agwm")``.

    Args:
        vector: v, the gradient of the outer loss by the weights of ``curr``; left as it is.
        curr: The inner problem.
        prev: The problem whose parameters take the hypergradient.
        sync: Add the indirect term to their ``.grad`` instead of returning it.

    Returns:
        The indirect term, or None when ``sync``.

    Raises:
        HypergradientError: As :meth:`SearchStep.indirect_term` does.
    """
    if sync and curr.hypergradient.order == "first":
        return None
    indirect = curr.indirect_term([v.clone() for v in vector], prev)
    if not sync:
        return indirect
    prev.set_grads(prev.trainable_parameters(), indirect)
    return None


register(HYPERGRADIENT_TYPE, finite_difference, SearchStep)
