r"""The mixing function by ``torch.compile``: fused loops in place of one operation after another.

The value is one loop over W and W0. The gradients are fused with the sums that reduce them to the factors,
so that nothing of the weight's shape is stored on the way; how many loops read the inputs is the
compiler's choice (for a rank-1 alpha a sum over rows and one over columns).

Opt-in, by ``mixup.compile()``; to compile a whole model, call ``torch.compile(model)`` instead. It needs
what inductor needs: a C++ compiler on a CPU, Triton on a GPU. The values at W = W0 and at alpha = 1 are
those of the plain function bit for bit, others up to rounding. A GPU is what it is for: there each
operation of the plain function is a kernel of its own. The speed on a GPU has not been measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from agwm.mixing.formulas import (
    convex,
    convex_gradients,
    convex_tangent,
    factored,
    factored_gradients,
    factored_tangent,
)
from agwm.mixing.functions import Formula, mix_weights, mixing_function

__all__ = ["mix_weights_compiled"]

Gradients = Callable[..., tuple["Tensor | None", ...]]


def _summed(field: Tensor, other: Tensor | None, shape: torch.Size) -> Tensor:
    """Sum ``field * other`` down to ``shape``, written so that the compiler fuses it."""
    product = field if other is None else field * other
    dims = [dim for dim, size in enumerate(shape) if size == 1]
    return product.sum(dims, keepdim=True) if dims else product


# One function for each kind of pass: the compiler keeps a limited number of variants of each.
def _of_task(gradients: Gradients, *tensors: Tensor) -> tuple[Tensor | None, ...]:
    return gradients([True] + [False] * (len(tensors) - 2), *tensors, reduced=_summed)


def _of_factors(gradients: Gradients, *tensors: Tensor) -> tuple[Tensor | None, ...]:
    return gradients([False] + [True] * (len(tensors) - 2), *tensors, reduced=_summed)


def _of_both(gradients: Gradients, *tensors: Tensor) -> tuple[Tensor | None, ...]:
    return gradients([True] * (len(tensors) - 1), *tensors, reduced=_summed)


def _function(
    name: str, value: Callable[..., Tensor], gradients: Gradients, tangent: Callable[..., Tensor]
) -> type[torch.autograd.Function]:
    compiled = partial(torch.compile, dynamic=True, fullgraph=True)
    fused_value = compiled(value)
    kinds = {
        (True, False): compiled(_of_task),
        (False, True): compiled(_of_factors),
        (True, True): compiled(_of_both),
    }

    def fused_gradients(needs: Sequence[bool], grad: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # second derivatives are left to the plain one
            return gradients(needs, grad, *saved)
        kind = (needs[0], any(needs[2:]))
        found = kinds[kind](gradients, grad, *(tensor.detach() for tensor in saved))
        return tuple(each if need else None for each, need in zip(found, needs, strict=True))

    def forward(*tensors: Tensor) -> Tensor:
        return fused_value(*(tensor.detach() for tensor in tensors))

    return mixing_function(name, forward, fused_gradients, tangent)


_FUNCTIONS = {
    "convex": _function("ConvexCompiled", convex, convex_gradients, convex_tangent),
    "factored": _function("FactoredCompiled", factored, factored_gradients, factored_tangent),
}


def mix_weights_compiled(
    task: Tensor,  # shape: (*shape)
    pretrained: Tensor,  # shape: (*shape)
    factors: Sequence[Tensor],  # shapes: broadcastable to (*shape)
    formula: Formula = "convex",
) -> Tensor:  # shape: (*shape)
    """Mix as :func:`agwm.mix_weights` does, compiled; the first calls take seconds.

    Args:
        task: Task weights W.
        pretrained: Pretrained weights W0.
        factors: Factors of alpha.
        formula: ``"convex"`` or ``"factored"``.

    Returns:
        Mixed weights.

    Raises:
        ConfigError: If ``formula`` is unknown.
    """
    if not factors or formula not in _FUNCTIONS:
        return mix_weights(task, pretrained, factors, formula)
    return _FUNCTIONS[formula].apply(task, pretrained, *factors)
