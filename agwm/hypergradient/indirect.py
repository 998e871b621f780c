"""The indirect term of the hypergradient, from a recorded inner step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from agwm.errors import HypergradientError
from agwm.hypergradient.best_response import response_vector
from agwm.hypergradient.finite_difference import Scheme, default_epsilon, global_norm
from agwm.hypergradient.inner_step import StepTrace
from agwm.hypergradient.resumed_difference import Difference
from agwm.hypergradient.rounding import RoundingWatch, is_first_of_adam
from agwm.hypergradient.settings import Hypergradient

__all__ = ["check_finite", "indirect_term"]


def check_finite(step: int, **norms: float) -> None:
    """Raise unless all norms are finite.

    Args:
        step: Number of the inner step, for the message.
        norms: The norms, by what they are called.

    Raises:
        HypergradientError: If one is not; names the step, all norms and the knob.
    """
    if not all(norm < float("inf") for norm in norms.values()):
        listed = ", ".join(f"{name} {norm:.3g}" for name, norm in norms.items())
        raise HypergradientError(
            f"Hypergradient is not finite at inner step {step}: expected finite norms, got {listed}."
            " Lower the learning rates or hypergradient.epsilon."
        )


def indirect_term(
    vector: list[Tensor],  # shapes: those of weights
    weights: Sequence[nn.Parameter],
    uppers: Sequence[nn.Parameter],
    trace: StepTrace,
    settings: Hypergradient,
    gradient: Callable[[], list[Tensor]],
    dtype: torch.dtype,
    is_last: bool,
    watch: RoundingWatch,
) -> tuple[list[Tensor], float]:
    r"""Return the indirect term :math:`\partial_\alpha \partial_W L_{tr} \cdot u` and the norm of u.

    :math:`u` is the gradient ``vector`` of the outer loss by W times the derivative of the inner step, as
    ``settings.best_response`` has it. The mixed derivative is a finite difference of ``gradient``.

    Args:
        vector: v, the gradient of the outer loss by W; overwritten.
        weights: W. Displaced during the call; the same storage with the same bits afterwards.
        uppers: The parameters that take the hypergradient.
        trace: The inner step. Its large tensors are dropped when ``is_last``. A difference that was
            interrupted goes on where it was.
        settings: Scheme, best response and epsilon.
        gradient: Evaluates the gradient of the inner loss by ``uppers`` at the present weights, in the
            masks of the recorded step.
        dtype: The coarsest dtype that the passes of ``gradient`` round to.
        is_last: True if no other problem needs the trace.
        watch: Looks at the difference; not at one through Adam's first step.

    Returns:
        One tensor for each of ``uppers``, and the norm of u. The term is zero where the gradient scaler
        skipped the inner step, which then answered nothing. It is not a number where ``vector`` is not
        finite.
    """
    indirect, norm = [torch.zeros_like(upper) for upper in uppers], 0.0
    scheme = cast(Scheme, settings.scheme)  # of those that take a difference
    if trace.difference is None and trace.step is not None and not trace.is_skipped:
        if settings.best_response == "optimizer" and watch.left and is_first_of_adam(trace.step):
            trace.is_flat = True
        direction = response_vector(settings.best_response, vector, trace.step)
        norm = float(global_norm(direction))
        if is_last:
            trace.step = None  # its gradients are as large as W, and not needed in the passes below
        if 0.0 < norm < float("inf"):
            base = trace.weights
            if base is not None and not is_last:
                base = [weight.clone() for weight in base]
            known = trace.upper_gradients
            epsilon = settings.epsilon
            if epsilon is None:
                epsilon = default_epsilon(scheme, dtype, weights, direction, trace.is_flat)
            trace.difference = Difference(
                weights,
                direction,
                norm,
                epsilon / norm,
                scheme,
                base,
                [known[id(upper)] for upper in uppers] if known else None,
            )
    if trace.difference is not None:
        norm = trace.difference.norm
        indirect = trace.difference.take(gradient)
        if watch.left and not trace.is_flat:
            above, below = trace.difference.ends
            watch.look(above, below, dtype, trace.difference.step * norm)
        trace.difference = None
    elif not norm < float("inf"):
        indirect = [torch.full_like(upper, float("nan")) for upper in uppers]
    if is_last:
        trace.step, trace.weights, trace.upper_gradients = None, None, {}
    return indirect, norm
