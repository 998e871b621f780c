"""The explicit part of the indirect term: what needs no pass, because the inner backward gave it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from agwm.hypergradient.best_response import BestResponse, response_vector
from agwm.hypergradient.finite_difference import global_norm
from agwm.hypergradient.inner_step import StepTrace

__all__ = ["explicit_term"]

Part = Callable[[Mapping[Tensor, Tensor], Mapping[Tensor, Tensor]], Iterable[tuple[nn.Parameter, Tensor]]]


def explicit_term(
    vector: list[Tensor],  # shapes: those of asked
    asked: Sequence[nn.Parameter],
    weights: Sequence[nn.Parameter],
    uppers: Sequence[nn.Parameter],
    trace: StepTrace,
    best_response: BestResponse,
    part: Part,
    is_last: bool,
) -> tuple[list[Tensor], float]:
    r"""Return the explicit part of the indirect term, and the norm of u.

    The gradient of the inner loss depends on the upper parameters twice: through the weights that the
    model computes with, and through the map from W to these. With the gradient G by the computed weights
    held fixed, only the second is left:

    .. math:: \partial_\alpha \langle (\partial \hat W / \partial W)^\top G, u \rangle

    With ``unroll_steps`` above 1 the explicit parts of all steps of the window are there, taken through the
    steps after them; see :func:`agwm.hypergradient.carried.carry_`.

    Args:
        vector: v, the gradient of the outer loss by weights; overwritten.
        asked: The weights that it is by: those with an explicit part, or all.
        weights: W, in the order of the inner step.
        uppers: The parameters that take the hypergradient.
        trace: The inner step. Its large tensors are dropped when ``is_last``.
        best_response: What makes u of v; see :func:`agwm.hypergradient.best_response.response_vector`.
        part: Returns terms of the explicit part, of u by the weight and what the problem kept.
        is_last: True if no other problem needs the trace.

    Returns:
        One tensor for each of ``uppers``, zero where nothing depends on it, and the norm of u.
    """
    total = {id(upper): torch.zeros_like(upper) for upper in uppers}
    norm = 0.0
    terms: list[tuple[nn.Parameter, Tensor]] = []
    if trace.carried:
        terms += part(dict(zip(asked, vector, strict=True)), trace.carried)
    if asked and trace.step is not None and not trace.is_skipped:
        places = {weight: place for place, weight in enumerate(weights)}
        step = trace.step.only([places[weight] for weight in asked])
        direction = response_vector(best_response, vector, step)
        norm = float(global_norm(direction))
        terms += part(dict(zip(asked, direction, strict=True)), trace.slopes)
    for upper, term in terms:
        if id(upper) in total:
            total[id(upper)] += term
    if is_last:
        trace.step, trace.weights, trace.slopes, trace.carried = None, None, {}, {}
    return list(total.values()), norm
