r"""Best response of the inner problem to alpha: which direction the finite difference takes.

With the inner step :math:`W' = F(W, g)`, :math:`g = \nabla_W L_{tr}(W, \alpha)`, and
:math:`v = \nabla_{W'} L_{val}`, the indirect term of the hypergradient is

.. math:: \frac{\partial}{\partial\alpha} \langle \nabla_W L_{tr}(W, \alpha), u \rangle, \qquad
          u = \Big(\frac{\partial F}{\partial g}\Big)^{\!\top} v .

Each function here maps v to u for one assumption about F. None of them needs a pass of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from agwm.checks import check_value
from agwm.hypergradient.optimizers import InnerStep, is_coupled, numbers, sign
from agwm.shards import is_sharded, own_part, sum_of_parts

__all__ = ["BestResponse", "response_vector"]

_BLOCK = 1 << 17  # entries
BestResponse = Literal["identity", "sgd", "optimizer"]


def _times_adam_derivative_(
    vector: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: float, group: dict[str, Any]
) -> None:
    r"""Multiply v by the derivative of Adam's update by the gradient that enters its moments, in place.

    .. math:: -\eta\,\frac{\partial}{\partial g}\frac{\hat m}{\sqrt{\hat v} + \epsilon}
              = -\frac{\eta}{D}\Big[\frac{1-\beta_1}{c_1}
                - \frac{\hat m}{D}\,\frac{(1-\beta_2)\,g}{c_2\sqrt{\hat v}}\Big],
              \quad D = \sqrt{\hat v} + \epsilon

    The order of the operations is for speed: few of them, and two divisions.
    """
    beta1, beta2 = group["betas"]
    correction1, correction2 = 1.0 - beta1**step, 1.0 - beta2**step
    rate = -float(group["lr"])
    root = (square * (1.0 / correction2)).sqrt_()
    denominator = root + group["eps"]
    root.mul_(denominator).clamp_min_(torch.finfo(root.dtype).tiny)  # 0 where g^2 underflows
    slope = torch.addcdiv(
        torch.full((), rate * (1.0 - beta1) / correction1, dtype=root.dtype, device=root.device),
        mean * gradient,
        root,
        value=-rate * (1.0 - beta2) / (correction1 * correction2),
    )
    vector.mul_(slope.div_(denominator))


def _sgd_derivative(group: dict[str, Any], state: dict[str, Any], is_first: bool) -> float:
    """Derivative of SGD's update by the gradient: a number, ``-lr`` without momentum."""
    momentum = group["momentum"]
    if momentum == 0:
        return -float(group["lr"])
    own = 1.0 if is_first else 1.0 - group["dampening"]
    return -float(group["lr"]) * (1.0 + momentum * own if group["nesterov"] else own)


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Walk through tensors of one shape in blocks that stay in a processor's cache; views of them."""
    if tensors[0].device.type != "cpu" or not all(tensor.is_contiguous() for tensor in tensors):
        yield tensors
        return
    yield from zip(*(tensor.view(-1).split(_BLOCK) for tensor in tensors), strict=True)


def _few_rows(gradient: Tensor) -> Tensor | None:
    """Return the rows of a matrix that have any gradient; None where they are most of it.

    Of an embedding these are the tokens of the batch. A first column that is mostly zero is the hint
    that makes it worth reading the rest. On a GPU the answer would have to be waited for.
    """
    if gradient.device.type != "cpu" or gradient.dim() != 2 or gradient.numel() == 0:
        return None
    if 2 * int(gradient[:, 0].count_nonzero()) > len(gradient):
        return None
    rows = gradient.any(dim=1).nonzero().flatten()
    return rows if 2 * len(rows) < len(gradient) else None


def _through_adam_(tensors: Sequence[Tensor], step: float, group: dict[str, Any]) -> None:
    """Multiply v by the derivative of Adam's update, in place, block by block.

    Args:
        tensors: v, the gradient, Adam's two moments, and W where weight decay enters the moments.
        step: Number of the step.
        group: Settings of the optimizer.
    """
    for v, gradient, mean, square, *weights in _blocks(*tensors):
        entering = gradient if sign(group) > 0 else -gradient
        for weight in weights:
            entering = entering.add(weight, alpha=group["weight_decay"])
        _times_adam_derivative_(v, entering, mean, square, step, group)
        if sign(group) < 0:
            v.neg_()
        v.masked_fill_(gradient == 0, 0.0)


def _through_optimizer_(vector: Sequence[Tensor], step: InnerStep) -> None:
    """Multiply ``v`` by the derivative of the optimizer's update, entry by entry, in place.

    Zero where the gradient is zero: such an entry (an embedding row outside the batch) has a huge
    derivative under Adam and no effect, and would dominate the norm that decides epsilon.
    """
    for i, (v, gradient) in enumerate(zip(vector, step.gradients, strict=True)):
        group, state = step.groups[i], step.states[i]
        if gradient is None or group is None:
            v.zero_()
        elif step.kind == "SGD":
            v.mul_(_sgd_derivative(group, state, state.get("is_first", False)) * sign(group))
        else:
            tensors = [v, gradient, state["exp_avg"], state["exp_avg_sq"]]
            if is_coupled(step.kind, group):
                tensors.append(step.weights[i])
            rows = _few_rows(gradient)
            own = tensors if rows is None else [tensor[rows] for tensor in tensors]
            _through_adam_(own, float(state["step"]), group)
            if rows is not None:
                v.zero_().index_copy_(0, rows, own[0])


def _through_clipping_(vector: Sequence[Tensor], step: InnerStep, shards: Tensor | None) -> None:
    r"""Apply the transposed derivative of clipping by the global norm, in place.

    .. math:: g \mapsto c\,g,\; c = \frac{C}{\lVert g\rVert + 10^{-6}}:\qquad
              u = c\,\Big(s - \frac{g\,\langle g, s\rangle}
                                   {\lVert g\rVert(\lVert g\rVert + 10^{-6})}\Big)

    Args:
        vector: s, of sharded weights this process's part.
        step: The step.
        shards: One of the sharded weights; None: the weights are whole.
    """
    factor = step.clip_factor
    if factor >= 1.0:
        return
    pairs = [
        block
        for s, g in zip(vector, step.gradients, strict=True)
        if g is not None
        for block in _blocks(s, g)
    ]
    inner = float(
        sum_of_parts(sum(((s * g).sum() for s, g in pairs), torch.zeros((), device="cpu")), shards)
    )
    # gradients are clipped already: g = clipped / factor, once in <g, s> and once in front of it.
    weight = inner / (factor**2 * step.total_norm * (step.total_norm + 1e-6))
    for s, g in pairs:
        s.add_(g, alpha=-weight).mul_(factor)


@torch.no_grad()
def response_vector(kind: BestResponse, vector: Sequence[Tensor], step: InnerStep) -> list[Tensor]:
    r"""Return the direction u of the finite difference for ``v = dL_val/dW'``.

    ==============  ========================================================  =====================
    ``kind``        u                                                         assumed inner map
    ==============  ========================================================  =====================
    ``identity``    :math:`-v`                                                Hessian = I (Betty)
    ``sgd``         :math:`-\eta_w v`, the learning rate of each group        one SGD step (paper)
    ``optimizer``   :math:`(\partial F/\partial g)^\top v`, clipping included  the step that was taken
    ==============  ========================================================  =====================

    Args:
        kind: The kind of response.
        vector: v, one tensor a weight. Overwritten with u: a copy would cost the memory of W once more.
        step: The inner step.

    Returns:
        u, one tensor a weight, in the storage of v.

    Raises:
        ConfigError: If ``kind`` is unknown.

    Reference:
        ``identity``: Betty 0.2.1, darts. ``sgd``: Liu et al., DARTS, ICLR 2019, Eq. 7.
    """
    check_value("hypergradient.best_response", BestResponse, kind)
    vector = list(vector)
    if kind == "identity":
        torch._foreach_neg_(vector)
        return vector
    known = {id(group): numbers(group) for group in step.groups if group is not None}
    step = replace(step, groups=[None if group is None else known[id(group)] for group in step.groups])
    if kind == "sgd":
        for v, group in zip(vector, step.groups, strict=True):
            v.mul_(0.0 if group is None else -float(group["lr"]) * sign(group))
        return vector
    parts, step = [own_part(v) for v in vector], step.own_part()  # entry by entry, each its own
    _through_optimizer_(parts, step)
    _through_clipping_(parts, step, next(filter(is_sharded, vector), None))
    return vector
