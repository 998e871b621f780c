"""The search step: one recorded inner step, one outer backward, one finite difference.

``SearchStep`` records the inner step that is to be differentiated (its batches, the random state of
its forward passes, W before it, what the optimizer did), gets the direct term and the gradient by W from
one backward of the outer loss, and adds the indirect term by a finite difference in the same dropout
masks. It knows nothing of mixing: it is registered with Betty under ``Config(type="agwm")``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from agwm.batch_rows import first_rows
from agwm.errors import HypergradientError
from agwm.forward_pass import ForwardPass
from agwm.hypergradient._betty import register
from agwm.hypergradient.explicit import explicit_term
from agwm.hypergradient.finite_difference import global_norm
from agwm.hypergradient.indirect import check_finite, indirect_term
from agwm.hypergradient.inner_step import dense, filled, owned
from agwm.hypergradient.recorded_step import RecordedStep, learning
from agwm.hypergradient.recording import refuse_unrecorded
from agwm.hypergradient.settings import HYPERGRADIENT_TYPE
from agwm.processes import average_
from agwm.rng import replay

__all__ = ["SearchStep"]


class SearchStep(RecordedStep):
    """agwm's search step: a base between the user's class and Betty's ``ImplicitProblem``.

    Attributes:
        term_norms: Norms of the last outer step's terms, ``direct`` and ``indirect``, of the problem whose
            parameters take the hypergradient. Empty before one, and under gradient scaling.
    """

    def initialize(self) -> None:
        """Set up the problem, which has taken no outer step."""
        self.term_norms: dict[str, float] = {}
        super().initialize()

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
        now, params = self._recording, [p for p in params if p.requires_grad]
        if self._is_recorded and "get_loss" not in now.reached:
            refuse_unrecorded(self, "get_loss")
        now.reached.add("backward")
        if paths:
            held = [parameter.grad for parameter in params]
            try:
                if self._is_simple_outer(paths):
                    self._set_hypergradient(loss, params, paths[0][1])
                else:
                    # Betty walks the graph once for the direct term and once more for each path.
                    super().backward(loss, params, paths, create_graph, True, allow_unused)
            except BaseException:
                for parameter, gradient in zip(params, held, strict=True):
                    parameter.grad = gradient
                raise
        elif self._is_differentiated:
            self._set_inner_gradient(loss, params)
        else:
            super().backward(loss, params, paths, create_graph, retain_graph, allow_unused)
        if self._is_exact:
            now.mark(params)

    def _reached(self) -> list[torch.nn.Parameter]:
        """Return the parameters that take gradient in a pass of sharded weights: W, and what is above.

        Where weights are whole nobody asks for them: the list is empty.
        """
        if not self._is_sharded:
            return []
        own = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        return [*own, *(p for parent in self._parents for p in learning(parent))]

    def _set_inner_gradient(self, loss: Tensor, params: list[torch.nn.Parameter]) -> None:
        settings = self.hypergradient
        reuses = self._is_last_before_outer and settings.reuses_inner_gradient
        uppers = [p for parent in self._parents for p in learning(parent)] if reuses else []
        gradients = self._recording.forward.gradients(loss, [*params, *uppers], self._reached())
        own = owned(dense(gradients[: len(params)], params, self.module))
        known = self._recording.trace.upper_gradients
        with self._half_done("setting gradients"):
            self.set_grads(params, own)
            for upper, gradient in zip(uppers, filled(gradients[len(params) :], uppers), strict=True):
                gradient = gradient / self._scale()
                known[id(upper)] = known[id(upper)] + gradient if id(upper) in known else gradient

    def _set_hypergradient(self, loss: Tensor, params: list[torch.nn.Parameter], inner: SearchStep) -> None:
        """Direct term and v from one backward; then the indirect term."""
        weights = inner._asked()
        is_first = inner.hypergradient.order == "first"
        wanted = params if is_first else [*params, *weights]
        found = self._recording.forward.gradients(loss, wanted, inner._reached())
        gradients = owned(dense(found, wanted, inner.module))
        direct = average_(filled(gradients[: len(params)], params))
        if self.scaler is None:
            self.term_norms = {"direct": float(global_norm(direct))}
            check_finite(inner.step_number, **self.term_norms)
        self.set_grads(params, direct)
        if not is_first:
            vector = average_(filled(gradients[len(params) :], weights))
            self.set_grads(params, inner.indirect_term(vector, self, weights))

    def _asked(self) -> list[torch.nn.Parameter]:
        """Return the weights of this problem by which the indirect term needs v.

        Of the explicit part these are the mixed ones, unless clipping has tied all together.
        """
        weights = [p for p in self.meta_trainable_parameters() if p.requires_grad]
        trace, settings = self._recording.trace, self.hypergradient
        is_clipped = trace.step is not None and trace.step.clip_factor < 1.0
        if settings.scheme != "explicit" or (is_clipped and settings.best_response == "optimizer"):
            return weights
        return [weight for weight in weights if weight in trace.slopes or weight in trace.carried]

    def indirect_term(
        self, vector: list[Tensor], outer: SearchStep, asked: list[torch.nn.Parameter] | None = None
    ) -> list[Tensor]:
        """Return the indirect term of an outer problem's hypergradient, from the recorded inner step.

        Args:
            vector: v, the gradient of the outer loss by weights of this problem; overwritten.
            outer: The problem whose parameters take the hypergradient.
            asked: The weights that it is by; None: all that Betty takes.

        Returns:
            One tensor for each of its parameters; see :func:`agwm.hypergradient.indirect.indirect_term`.
            Under gradient scaling it is scaled as ``vector`` is. The outer scaler then skips a step that
            is not finite.

        Raises:
            HypergradientError: If it is not finite, the inner step is not there to differentiate, or its
                batches have no part of the size that ``batch_fraction`` asks for.
        """
        uppers, weights, trace = learning(outer), self._answering(), self._recording.trace
        if self.hypergradient.order == "first":
            return [torch.zeros_like(upper) for upper in uppers]
        terms = outer._recording.terms
        if id(self) in terms:
            return [term.clone() for term in terms[id(self)]]
        self._check_record(outer)
        is_last = outer is self._parents[-1]
        if self.hypergradient.scheme == "explicit":
            indirect, norm = explicit_term(
                vector,
                weights[: len(vector)] if asked is None else asked,
                weights,
                uppers,
                trace,
                self.hypergradient.best_response,
                self.explicit_part,
                is_last,
            )
        else:
            vector += [torch.zeros_like(weight) for weight in weights[len(vector) :]]
            indirect, norm = self._difference(vector, weights, uppers, is_last)
        indirect = average_(indirect)
        if outer.scaler is None:
            outer.term_norms["indirect"] = float(global_norm(indirect))
            check_finite(self.step_number, u=norm, indirect=outer.term_norms["indirect"])
        if len(outer._paths) > 1:
            terms[id(self)] = [term.clone() for term in indirect]
        return indirect

    def explicit_part(
        self, directions: Mapping[Tensor, Tensor], slopes: Mapping[Tensor, Tensor]
    ) -> list[tuple[torch.nn.Parameter, Tensor]]:
        """Return the explicit part of the mixed derivative, for problems that offer one.

        Args:
            directions: W -> u.
            slopes: W -> G, which the problem put into ``_recording.slopes``.

        Returns:
            Upper parameters, each with a term of its derivative; one may be there several times.

        Raises:
            HypergradientError: If the problem offers none.
        """
        self.check_explicit()
        return []

    def _difference(
        self,
        vector: list[Tensor],
        weights: list[torch.nn.Parameter],
        uppers: list[torch.nn.Parameter],
        is_last: bool,
    ) -> tuple[list[Tensor], float]:
        return indirect_term(
            vector,
            weights,
            uppers,
            self._recording.trace,
            self.hypergradient,
            lambda: self._upper_gradient(uppers),
            self._coarsest_dtype(weights, uppers),
            is_last=is_last,
            watch=self._recording.rounding,
        )

    def _check_record(self, outer: SearchStep) -> None:
        """Raise unless the step right before the outer one is recorded in full.

        Raises:
            HypergradientError: If it is not.
        """
        trace, settings = self._recording.trace, self.hypergradient
        if trace.step is None and trace.difference is None:
            refuse_unrecorded(self, "step_normal", "one_step_descent", "optimizer_step", "step")
            raise HypergradientError(
                f"No inner step to differentiate: expected one of problem {self.name!r} right below"
                f" {outer.name!r}, got one that a problem in between used already. Use two levels, or a"
                " type of Betty's own for the lowest of three."
            )
        if len(trace.batches) != self.gas:
            refuse_unrecorded(self, "get_loss", "one_step_descent")
        if settings.differentiates_before_step and trace.count != self._count:
            raise HypergradientError(
                f"Recorded step is not the last one: expected problem {outer.name!r} to step right after"
                f" step {trace.count} of {self.name!r}, got {self._count} steps. Give all problems below it"
                " the same unroll_steps, or use best_response='identity' with the central scheme."
            )

    def _upper_gradient(self, uppers: list[torch.nn.Parameter]) -> list[Tensor]:
        """Return the gradient of this problem's loss by ``uppers``, in the masks of the recorded step.

        The loss is a mean over examples, so the mean over a part of a batch stands for the whole.
        """
        total: list[Tensor] = []
        for number, (batch, state) in self._recording.trace.batches.items():
            part = first_rows(batch, self.hypergradient.batch_fraction)
            with replay(state), state.holding_results(), torch.enable_grad():
                self._recording.is_replaying, self._recording.replayed = True, number
                try:
                    with ForwardPass() as forward:
                        loss, _ = self.get_loss(part)
                finally:
                    self._recording.is_replaying = False
                gradients = filled(forward.gradients(loss, uppers, self._reached()), uppers)
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
    prev.set_grads(learning(prev), indirect)
    return None


register(HYPERGRADIENT_TYPE, finite_difference, SearchStep)
