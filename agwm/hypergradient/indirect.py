"""The indirect term of the hypergradient, from a recorded inner step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agwm.errors import HypergradientError
from agwm.forward_pass import ForwardPass
from agwm.hypergradient.best_response import response_vector
from agwm.hypergradient.finite_difference import default_epsilon, global_norm, mixed_derivative
from agwm.hypergradient.inner_step import filled, first_rows
from agwm.processes import average_
from agwm.rng import replay

if TYPE_CHECKING:
    from agwm.hypergradient.search_step import SearchStep

__all__ = ["check_finite", "finite_difference", "indirect_term"]


def check_finite(inner: SearchStep, **norms: float) -> None:
    """Raise unless all norms are finite.

    Raises:
        HypergradientError: If one is not; names the step, all norms and the knob.
    """
    if not all(norm < float("inf") for norm in norms.values()):
        listed = ", ".join(f"{name} {norm:.3g}" for name, norm in norms.items())
        raise HypergradientError(
            f"Hypergradient is not finite at inner step {inner.step_number}: expected finite norms, got"
            f" {listed}. Lower the learning rates or hypergradient.epsilon."
        )


def _upper_gradient(inner: SearchStep, uppers: list[torch.nn.Parameter]) -> list[Tensor]:
    """Gradient of the inner loss by the upper parameters, in the masks of the recorded step.

    Of a loss that is a mean over examples, the mean over a part of a batch stands for the whole.
    """
    total: list[Tensor] | None = None
    fraction = inner.settings.batch_fraction
    for batch, state in inner._recording.batches:
        part = first_rows(batch, fraction)
        with replay(state), torch.enable_grad():
            with ForwardPass() as forward:
                outcome = inner.training_step_exec(part)
            loss = (outcome["loss"] if isinstance(outcome, dict) else outcome) / inner.gas
            loss = loss if inner.scaler is None else inner.scaler.scale(loss)
            gradients = filled(forward.gradients(loss, uppers), uppers)
        total = gradients if total is None else torch._foreach_add(total, gradients)
    return [gradient / inner._scale() for gradient in total]


def _coarsest_dtype(inner: SearchStep, *groups: Sequence[Tensor]) -> torch.dtype:
    """Dtype whose rounding the difference has to outweigh: alpha is in float32 in a float64 model."""
    dtypes = {tensor.dtype for group in groups for tensor in group}
    if inner.precision != "fp32":
        dtypes.add(inner.dtype)
    return max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)


def finite_difference(
    vector: Sequence[Tensor], curr: SearchStep, prev: SearchStep, sync: bool
) -> list[Tensor] | None:
    """Betty's interface to the indirect term: registered under ``Config(type="agwm")``.

    Args:
        vector: v, the gradient of the outer loss by the weights of ``curr``; left as it is.
        curr: The inner problem.
        prev: The problem whose parameters take the hypergradient.
        sync: Whether to add the indirect term to their ``.grad`` instead of returning it.

    Returns:
        The indirect term of :func:`indirect_term`, or None when ``sync``.

    Raises:
        HypergradientError: If there is none.
    """
    if sync and curr.settings.order == "first":
        return None
    indirect = indirect_term([v.clone() for v in vector], curr, prev)
    if not sync:
        return indirect
    prev.set_grads(prev.trainable_parameters(), indirect)
    return None


def indirect_term(vector: list[Tensor], curr: SearchStep, prev: SearchStep) -> list[Tensor]:
    """Return the indirect term, from the recorded inner step.

    Args:
        vector: v, the gradient of the outer loss by the weights of ``curr``; overwritten.
        curr: The inner problem.
        prev: The problem whose parameters take the hypergradient.

    Returns:
        One tensor for each of its parameters. Under gradient scaling it is scaled as ``vector`` is,
        it is zero where the scaler skipped the inner step, which then answered nothing, and it is not a
        number where ``vector`` is not finite, for the outer scaler to skip the outer step.

    Raises:
        HypergradientError: If it is not finite, the inner step is not there to differentiate, or its
            batches have no part of the size that ``batch_fraction`` asks for.
    """
    settings, recording = curr.settings, curr._recording
    uppers, weights = prev.trainable_parameters(), curr.meta_trainable_parameters()
    if settings.order == "first":
        return [torch.zeros_like(p) for p in uppers]
    if recording.step is None:
        raise HypergradientError(
            f"No inner step to differentiate: expected one of problem {curr.name!r} right below"
            f" {prev.name!r}, got one that a problem in between used already. Use two levels, or a"
            " type of Betty's own for the lowest of three."
        )
    indirect, norm = [torch.zeros_like(p) for p in uppers], 0.0
    is_last = prev is curr._parents[-1]
    if not recording.is_skipped:
        direction = response_vector(settings.best_response, vector, recording.step)
        norm = float(global_norm(direction))
    if is_last:
        recording.step = None  # its gradients are as large as W, and not needed in the passes below
    if not norm < float("inf"):
        indirect = [torch.full_like(p, float("nan")) for p in uppers]
    elif norm > 0.0:
        epsilon = settings.epsilon
        if epsilon is None:
            epsilon = default_epsilon(settings.scheme, _coarsest_dtype(curr, weights, uppers), weights)
        base = recording.weights
        if base is not None and not is_last:
            base = [weight.clone() for weight in base]
        known = recording.upper_gradients
        indirect = mixed_derivative(
            lambda: _upper_gradient(curr, uppers),
            weights,
            direction,
            epsilon / norm,
            settings.scheme,
            base,
            [known[id(p)] for p in uppers] if known else None,
        )
        indirect = average_(indirect)
    if prev.scaler is None:
        size = float(global_norm(indirect))
        check_finite(curr, u=norm, indirect=size)
    if is_last:
        recording.weights = None
        recording.upper_gradients = {}
    return indirect
