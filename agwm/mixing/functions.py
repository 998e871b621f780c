r"""Weights mixup as a function of tensors: task weights, pretrained weights, factors of alpha.

The attention parameters :math:`\alpha = \prod_i f_i` are given by factors :math:`f_i` that broadcast
to the shape of the weight, so that a rank-1 :math:`\alpha = a b^\top` is two vectors and is never
stored as a matrix for backward.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from agwm.checks import check_value
from agwm.errors import ShapeError
from agwm.forward_pass import needed, note_inputs
from agwm.mixing.formulas import (
    convex,
    convex_gradients,
    convex_tangent,
    factored,
    factored_gradients,
    factored_tangent,
)

__all__ = ["Formula", "check_factors", "check_formula", "mix_weights", "mixing_function"]

Formula = Literal["convex", "factored"]


def mixing_function(
    name: str,
    value: Callable[..., Tensor],
    gradients: Callable[..., tuple[Tensor | None, ...]],
    tangent: Callable[..., Tensor],
) -> type[torch.autograd.Function]:
    """Make a differentiable function that keeps only its inputs: neither alpha nor its gradient.

    Args:
        name: Name of the function in profilers.
        value: ``value(task, pretrained, *factors)``.
        gradients: ``gradients(needs, grad, task, pretrained, *factors)``.
        tangent: ``tangent((task, pretrained, *factors), tangents)``, for forward-mode differentiation.
    """

    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # the inputs as they came: half-precision weights are widened again in backward, not kept wide
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)
        note_inputs(ctx, inputs)

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return gradients(needed(ctx), grad, *ctx.saved_tensors)

    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        return tangent(ctx.saved_tensors, tangents)

    # torch asks for it at every call: kept, it is not worked out each time
    value.__signature__ = inspect.signature(value)  # type: ignore[attr-defined]
    body: dict[str, Callable[..., Any]]
    body = {"forward": value, "setup_context": setup_context, "backward": backward, "jvp": jvp}
    methods: dict[str, Any] = {key: staticmethod(method) for key, method in body.items()}
    return type(name, (torch.autograd.Function,), {"generate_vmap_rule": True, **methods})


_FUNCTIONS = {
    "convex": mixing_function("Convex", convex, convex_gradients, convex_tangent),
    "factored": mixing_function("Factored", factored, factored_gradients, factored_tangent),
}


def check_formula(formula: object) -> None:
    """Raise ConfigError unless the formula is known."""
    check_value("formula", Formula, formula, "Pass formula='convex' for the definition.")


def check_factors(name: str, shape: torch.Size, factors: Sequence[Tensor]) -> None:
    """Raise unless every factor of alpha broadcasts to the weight and their product fills it.

    Args:
        name: Name of the weight, for the message.
        shape: Shape of the weight.
        factors: Factors of alpha.

    Raises:
        ShapeError: If a factor does not broadcast to ``shape``.
    """
    for factor in factors:
        try:
            fits = torch.broadcast_shapes(factor.shape, shape) == shape
        except RuntimeError:
            fits = False
        if not fits or factor.dim() != len(shape):
            raise ShapeError(
                f"Factor of alpha has the wrong shape for {name!r}: expected {len(shape)} dimensions"
                f" that broadcast to {tuple(shape)}, got {tuple(factor.shape)}."
                " Give a factor of size 1 in each dimension along which alpha is constant."
            )


def mix_weights(
    task: Tensor,  # shape: (*shape)
    pretrained: Tensor,  # shape: (*shape)
    factors: Sequence[Tensor],  # shapes: broadcastable to (*shape)
    formula: Formula = "convex",
) -> Tensor:  # shape: (*shape)
    r"""Mix task weights and pretrained weights.

    With :math:`\alpha = \prod_i f_i`:

    .. math::
        \text{convex:}\quad   \hat W &= \alpha \odot W + (1 - \alpha) \odot W_0 \\
        \text{factored:}\quad \hat W &= \textstyle\prod_i f_i \odot W + \prod_i (1 - f_i) \odot W_0

    The convex form is computed as ``lerp(W0, W, alpha)``: bit for bit ``W`` where ``W == W0``, whatever
    ``alpha`` is, and at ``alpha == 1``. No factor at all means ``alpha = 1`` and returns ``W`` itself.
    Arithmetic is done in the wider of the two dtypes, the result has the dtype of ``task``.

    Args:
        task: Task weights W. Receives gradient ``alpha * g``.
        pretrained: Pretrained weights W0. Never receives gradient.
        factors: Factors of alpha in [0, 1] (not checked here: hot path). Factor ``i`` receives
            ``g * (W - W0)`` (convex) times the other factors, summed over the dimensions along which
            it is constant.
        formula: ``"convex"`` (the definition) or ``"factored"`` (the official code).

    Returns:
        Mixed weights, same shape, dtype and device as ``task``.

    Raises:
        ConfigError: If ``formula`` is unknown.

    Reference:
        Somayajula et al., Generalizable and Stable Finetuning of Pretrained Language Models on
        Low-Resource Texts, NAACL 2024, definition of g(W, alpha, W0); the factored form is the
        official code's.

    Example:
        >>> mix_weights(torch.ones(1, 2), torch.zeros(1, 2), [torch.tensor([[0.25]])])
        tensor([[0.2500, 0.2500]])
    """
    if formula not in _FUNCTIONS:
        check_formula(formula)
    if not factors:
        return task
    return _FUNCTIONS[formula].apply(task, pretrained, *factors)
