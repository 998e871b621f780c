r"""Values and gradients of the two formulas that mix weights, as pure functions of tensors.

With :math:`\alpha = \prod_i f_i`, convex: :math:`\alpha \odot W + (1 - \alpha) \odot W_0`; factored, the
official code's: :math:`\prod_i f_i \odot W + \prod_i (1 - f_i) \odot W_0`. Factors broadcast to the shape
of the weight. Arithmetic is done in the wider of the dtypes of W and the factors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

__all__ = [
    "convex",
    "convex_gradients",
    "convex_tangent",
    "explicit_gradients",
    "factored",
    "factored_gradients",
    "factored_tangent",
]

Reduce = Callable[[Tensor, "Tensor | None", torch.Size], Tensor]


def _product(factors: Sequence[Tensor]) -> Tensor:
    return factors[0] * factors[1] if len(factors) == 2 else reduce(torch.mul, factors)


def _others(factors: Sequence[Tensor], index: int) -> Tensor | None:
    """Product of all factors but one, or None when there is no other."""
    if len(factors) == 2:
        return factors[1 - index]
    rest = [*factors[:index], *factors[index + 1 :]]
    return _product(rest) if rest else None


def _times(left: Tensor, right: Tensor | None) -> Tensor:
    return left if right is None else left * right


def _reduce_against(field: Tensor, other: Tensor | None, shape: torch.Size) -> Tensor:
    """Sum ``field * other`` down to ``shape`` without storing the product of two matrices."""
    if other is not None and field.dim() == 2 and other.dim() == 2:
        if shape[1] == 1 and other.shape == (1, field.shape[1]):
            return field @ other.t()
        if shape[0] == 1 and other.shape == (field.shape[0], 1):
            return other.t() @ field
    return _times(field, other).sum_to_size(shape)


def _common_dtype(task: Tensor, factors: Sequence[Tensor]) -> torch.dtype:
    dtype = task.dtype
    for factor in factors:
        dtype = dtype if factor.dtype is dtype else torch.promote_types(dtype, factor.dtype)
    return dtype


def _widen(task: Tensor, factors: Sequence[Tensor], *others: Tensor) -> list[Tensor]:
    """Return W, the other tensors and then the factors in the wider of the two dtypes."""
    dtype = _common_dtype(task, factors)
    return [t if t.dtype is dtype else t.to(dtype) for t in (task, *others, *factors)]


def _overwrites(*tensors: Tensor) -> bool:
    """Return whether results computed from these tensors may be overwritten.

    Fresh memory of the weight's size costs more than the arithmetic, so temporaries are used again; but
    not where a graph is recorded or traced, nor in ``torch.func``, whose tensors have no memory.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    try:
        return all(type(tensor) in (Tensor, nn.Parameter) and tensor.data_ptr() >= 0 for tensor in tensors)
    except RuntimeError:
        return False


def _scaled(fresh: Tensor, by: Tensor, overwrites: bool) -> Tensor:
    """Return ``fresh * by``, in the memory of ``fresh`` where it may be and has room."""
    return fresh.mul_(by) if overwrites and fresh.shape == by.shape else fresh * by


def convex(task: Tensor, pretrained: Tensor, *factors: Tensor) -> Tensor:
    """Return ``lerp(W0, W, prod f)``."""
    wide, wide_pretrained, *wide_factors = _widen(task, factors, pretrained)
    alpha = _product(wide_factors)
    is_fresh = len(factors) > 1 and alpha.shape == task.shape and _overwrites(task, pretrained, *factors)
    mixed = torch.lerp(wide_pretrained, wide, alpha, out=alpha if is_fresh else None)
    return mixed.to(task.dtype)


def factored(task: Tensor, pretrained: Tensor, *factors: Tensor) -> Tensor:
    """Return ``(prod f) W + (prod (1 - f)) W0``, the weight formulation of the official code."""
    wide, wide_pretrained, *wide_factors = _widen(task, factors, pretrained)
    overwrites = _overwrites(task, pretrained, *factors)
    scaled = _by_alpha(wide, wide_factors, overwrites)
    complement = _product([1 - factor for factor in wide_factors])
    mixed = torch.addcmul(scaled, wide_pretrained, complement, out=scaled if overwrites else None)
    return mixed.to(task.dtype)


def _by_alpha(tensor: Tensor, factors: Sequence[Tensor], overwrites: bool) -> Tensor:
    """Return ``tensor * prod f``, never in the memory of either."""
    return _scaled(_product(factors), tensor, overwrites and len(factors) > 1)


def _reduced(
    field: Tensor, factors: Sequence[Tensor], needs: Sequence[bool], reduced: Reduce
) -> list[Tensor | None]:
    """Return for each factor that needs it the sum of ``field`` times the other factors."""
    return [
        reduced(field, _others(factors, i), factor.shape) if need else None
        for i, (factor, need) in enumerate(zip(factors, needs, strict=True))
    ]


def convex_gradients(
    needs: Sequence[bool], *tensors: Tensor, reduced: Reduce = _reduce_against
) -> tuple[Tensor | None, ...]:
    """Return the gradients of :func:`convex` by W and the factors where needed; of W0 always None.

    Args:
        needs: For each input of :func:`convex` whether its gradient is needed.
        *tensors: Gradient by the mixed weights, then the inputs.
        reduced: Sums a field of the weight's shape, times the other factors, down to a factor's shape.
    """
    return _gradients(_convex_sums, needs, *tensors, reduced=reduced)


def factored_gradients(
    needs: Sequence[bool], *tensors: Tensor, reduced: Reduce = _reduce_against
) -> tuple[Tensor | None, ...]:
    """Return the gradients of :func:`factored`, as :func:`convex_gradients` does."""
    return _gradients(_factored_sums, needs, *tensors, reduced=reduced)


def _gradients(
    sums: Callable[..., list[Tensor | None]],
    needs: Sequence[bool],
    grad: Tensor,
    saved_task: Tensor,
    saved_pretrained: Tensor,
    *saved: Tensor,
    reduced: Reduce,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a formula; ``sums`` gives the gradients by the factors."""
    overwrites = _overwrites(grad, saved_task, saved_pretrained, *saved)
    task, pretrained, grad, *factors = _widen(saved_task, saved, saved_pretrained, grad)
    grads: list[Tensor | None] = [None] * len(factors)
    if any(needs[2:]):
        grads = sums(needs[2:], grad, task, pretrained, factors, reduced, overwrites)
    grad_task = _by_alpha(grad, factors, overwrites) if needs[0] else None
    return _narrow(grad_task, grads, saved_task, saved)


def _convex_sums(
    needs: Sequence[bool],
    grad: Tensor,
    task: Tensor,
    pretrained: Tensor,
    factors: Sequence[Tensor],
    reduced: Reduce,
    overwrites: bool,
) -> list[Tensor | None]:
    return _reduced(_scaled(task - pretrained, grad, overwrites), factors, needs, reduced)


def _factored_sums(
    needs: Sequence[bool],
    grad: Tensor,
    task: Tensor,
    pretrained: Tensor,
    factors: Sequence[Tensor],
    reduced: Reduce,
    overwrites: bool,
) -> list[Tensor | None]:
    complements = [1 - factor for factor in factors]
    gains = _reduced(grad * task, factors, needs, reduced)
    losses = _reduced(grad * pretrained, complements, needs, reduced)
    pairs = zip(gains, losses, strict=True)
    return [None if gain is None or loss is None else gain - loss for gain, loss in pairs]


def explicit_gradients(
    needs: Sequence[bool],
    slope: Tensor,
    direction: Tensor,
    *factors: Tensor,
    reduced: Reduce = _reduce_against,
) -> list[Tensor | None]:
    r"""Return the derivative of :math:`\langle\alpha \odot G, u\rangle` by the factors, G held fixed.

    :math:`\alpha \odot G` is the gradient by W of either formula, for G the gradient by the mixed weights.
    So this is the part of its derivative by alpha that is explicit in alpha. It needs no pass of the model.
    The part that it leaves out is :math:`(W - W_0) \odot H[\alpha \odot u]` in the convex form, with H
    the Hessian by the mixed weights.

    Args:
        needs: For each factor whether its derivative is needed.
        slope: G, of the shape of the weight.
        direction: u, of the same shape.
        *factors: The factors of alpha.
        reduced: As in :func:`convex_gradients`.

    Example:
        >>> explicit_gradients([True], torch.tensor([[2.0, 3.0]]), torch.ones(1, 2), torch.ones(1, 1))
        [tensor([[5.]])]
    """
    wide, wide_direction, *wide_factors = _widen(slope, factors, direction)
    found = _reduced(wide * wide_direction, wide_factors, needs, reduced)
    pairs = zip(found, factors, strict=True)
    return [None if one is None else one.to(factor.dtype) for one, factor in pairs]


Tangents = Sequence["Tensor | None"]


def convex_tangent(tensors: Sequence[Tensor], tangents: Tangents) -> Tensor:
    """Return the derivative of :func:`convex` along a direction, for forward-mode differentiation.

    Args:
        tensors: The inputs of :func:`convex`: W, W0 and the factors.
        tangents: The direction, one tensor for each input; None: the input does not move.
    """
    task, pretrained, *factors = _widen(tensors[0], tensors[2:], tensors[1])
    alpha = _product(factors)
    terms = [
        _scaled_tangent(alpha, tangents[0]),
        _scaled_tangent(1 - alpha, tangents[1]),
        _scaled_tangent(task - pretrained, _product_tangent(factors, tangents[2:])),
    ]
    return _total(terms, task).to(tensors[0].dtype)


def factored_tangent(tensors: Sequence[Tensor], tangents: Tangents) -> Tensor:
    """Return the derivative of :func:`factored` along a direction, as :func:`convex_tangent` does."""
    task, pretrained, *factors = _widen(tensors[0], tensors[2:], tensors[1])
    complements = [1 - factor for factor in factors]
    opposite = [None if tangent is None else -tangent for tangent in tangents[2:]]
    terms = [
        _scaled_tangent(_product(factors), tangents[0]),
        _scaled_tangent(_product(complements), tangents[1]),
        _scaled_tangent(task, _product_tangent(factors, tangents[2:])),
        _scaled_tangent(pretrained, _product_tangent(complements, opposite)),
    ]
    return _total(terms, task).to(tensors[0].dtype)


def _scaled_tangent(scale: Tensor, tangent: Tensor | None) -> Tensor | None:
    return None if tangent is None else scale * tangent


def _product_tangent(factors: Sequence[Tensor], tangents: Tangents) -> Tensor | None:
    terms = [
        _times(tangent, _others(factors, i)) for i, tangent in enumerate(tangents) if tangent is not None
    ]
    return reduce(torch.add, terms) if terms else None


def _total(terms: Tangents, like: Tensor) -> Tensor:
    return reduce(torch.add, [term for term in terms if term is not None], torch.zeros_like(like))


def _narrow(
    grad_task: Tensor | None, grads: Sequence[Tensor | None], task: Tensor, factors: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """Return the gradients by W, W0 and the factors in the dtypes of these."""
    pairs = zip((grad_task, None, *grads), (task, None, *factors), strict=True)
    return tuple([g if g is None or like is None else g.to(like.dtype) for g, like in pairs])
