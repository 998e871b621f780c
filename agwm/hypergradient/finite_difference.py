r"""The mixed derivative of the inner loss times a vector, by a finite difference.

.. math:: \frac{\partial}{\partial\alpha}\langle\nabla_W L(W, \alpha), u\rangle \approx
    \frac{\nabla_\alpha L(W + \varepsilon u) - \nabla_\alpha L(W - \varepsilon u)}{2\varepsilon}
    \;\text{(central)},\qquad
    \frac{\nabla_\alpha L(W + \varepsilon u) - \nabla_\alpha L(W)}{\varepsilon}
    \;\text{(forward)}

with :math:`\varepsilon = \text{epsilon} / \lVert u\rVert`: ``epsilon`` is the norm of the displacement
of all of W.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from agwm.shards import whole

__all__ = [
    "Scheme",
    "default_epsilon",
    "global_norm",
    "mixed_derivative",
    "relative_epsilon",
]

Scheme = Literal["central", "forward"]
Gradient = Callable[[], list[Tensor]]

_EVEN: dict[Scheme, float] = {"central": 100.0, "forward": 16.0}
_MOST_UNEVEN = 1000.0
_LEAST = 25.0  # the norm that a smaller W counts as
_NEAR_ZERO = 0.005  # rms of weights that have no scale of their own yet


def _norms(tensors: Sequence[Tensor], order: int = 2) -> Tensor:
    """Return the norm of each tensor, all on the device of the first."""
    norms = [whole(norm) for norm in torch._foreach_norm([tensor.detach() for tensor in tensors], order)]
    return torch.stack([norm.to(norms[0].device) for norm in norms])


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the 2-norm of all tensors together without concatenating them."""
    return torch.linalg.vector_norm(_norms(tensors)) if tensors else torch.zeros((), device="cpu")


def default_epsilon(
    scheme: Scheme,
    dtype: torch.dtype,
    weights: Sequence[Tensor],
    direction: Sequence[Tensor],
    is_flat: bool = False,
) -> float:
    r"""Return the default norm of the displacement of all of W.

    With :math:`r` of :func:`relative_epsilon`, :math:`N` the number of weights, :math:`n` that of the
    tensors which u moves, and the unevenness :math:`e = \sqrt n\,\lVert u\rVert_2 / \lVert u\rVert_1`
    of u, it is the larger of

    .. math:: r\,\max\!\big(\lVert W\rVert \max(1, 100\,N^{-1/3}),\ 25\big)\,\max(1, e/e_0)
        \qquad\text{and}\qquad
        100\,r\,\min\!\big(3,\ (0.005 / \text{rms } W)^4\big)\,e .

    * A fraction of the norm of W alone suits a million weights and more; of fewer, a larger part moves.
      Not in half precision, whose fraction is capped where truncation begins.
    * An update of Adam is steep where its gradient is next to nothing. A few such entries can carry the
      norm of u, and they change no gradient; e is then large, and the others would move by less than
      rounding. Entries of u = -v have e of 6 to 20 in a transformer. :math:`e_0` is 16 in the forward
      scheme. It is 100 in the central one, whose larger step leaves more room.
    * Weights that start at zero say nothing of their scale (zero regression, the B of LoRA, biases). No
      usual initialisation is below 0.01; well below, the second number takes the scale to be 1 to 3.

    Worst relative error of the indirect term with ``best_response="optimizer"``, float32, steps 2 to 6,
    where epsilon is a fraction of the norm of W alone and by default. The first three rows mix BERT, by
    ``python -m benchmarks --parts fidelity --layers 3 --hidden 96`` with ``--heads`` and ``--length``. The
    others are those of ``python -m benchmarks.epsilon``:

    =====================================  =======  =======  =======  =======
    scheme                                 central  central  forward  forward
    epsilon                                norm     default  norm     default
    =====================================  =======  =======  =======  =======
    BERT 3 x 96, 12 heads, 16 x 32         1.8e-04  1.8e-04  5.5e-03  5.5e-03
    BERT 3 x 96, 4 heads, 16 x 32          1.5e-03  3.8e-04  5.4e-02  7.3e-03
    BERT 3 x 96, 12 heads, 16 x 128        2.6e-02  3.9e-03  5.7e-01  1.7e-02
    regression of 20 weights from zero     2.1e-02  4.6e-05  5.1e-01  1.2e-03
    the same from norm 1                   1.7e-03  4.2e-05  5.2e-02  1.2e-03
    the same from zero, AdamW              1.0e-01  5.7e-06  1.9e+00  1.5e-03
    regression of 2000 weights from zero   9.7e-03  1.4e-04  2.5e-01  3.9e-03
    biases of BERT 3 x 96 from zero        1.2e+00  9.3e-05  9.9e+00  3.7e-03
    B of LoRA on BERT 3 x 96               5.4e+00  1.3e-03  1.3e+01  4.0e-02
    =====================================  =======  =======  =======  =======

    With ``--precision bf16`` (autocast) the last six are 3e-3 to 3e-1 (central) and 4e-2 to 3 (forward):
    better than without, and good in the central scheme only.

    Args:
        scheme: ``"central"`` or ``"forward"``.
        dtype: The coarsest that the passes round to: of W, of alpha, and the autocast dtype.
        weights: W.
        direction: u, one tensor a weight; not zero.
        is_flat: True at Adam's first step, whose u is uneven everywhere: e counts as 1, since a larger
            step is truncation there.

    Returns:
        The norm, in the units of W.
    """
    lengths, sums = _norms(direction), _norms(direction, 1).sum()
    counts = torch.tensor([float(u.numel()) for u in direction], device=lengths.device)
    moved = (counts * (lengths > 0)).sum()
    both = [global_norm(weights).to(lengths.device), torch.linalg.vector_norm(lengths), sums, moved]
    norm, length, total, count = torch.stack(both).tolist()  # one wait for a GPU
    every = sum(weight.numel() for weight in weights)
    typical = norm / every**0.5
    unevenness = 1.0 if is_flat else min(length * count**0.5 / total, _MOST_UNEVEN)
    fraction = relative_epsilon(scheme, dtype)
    is_capped = torch.finfo(dtype).bits < 32
    scale = max(norm * (1.0 if is_capped else max(1.0, 100.0 / every ** (1 / 3))), _LEAST)
    from_zero = min(3.0, (_NEAR_ZERO / typical) ** 4) if typical > 0.0 else 3.0
    return max(
        fraction * scale * max(1.0, unevenness / _EVEN[scheme]),
        100.0 * fraction * from_zero * unevenness,
    )


def relative_epsilon(scheme: Scheme, dtype: torch.dtype) -> float:
    r"""Return the default displacement of a large W as a fraction of its norm.

    The error of a difference is truncation plus rounding. With the rounding unit of the passes called
    ``unit``, the sum is least at a multiple of :math:`unit^{1/3}` (central) or :math:`unit^{1/2}`
    (forward). The hundredth of it is measured on transformers: u moves few of the weights, so that these
    move by far more than the fraction returned. Half precision is capped, where truncation would win
    otherwise.

    Errors of the indirect term with ``best_response="optimizer"`` on a pretrained MiniLM (22.7 M
    weights, batch 16 x 32, AdamW 2e-5), steps 2 to 6 (bfloat16: 2 to 4):

    =========  =========  =========  ===========  ===========
    dtype      central    forward    central      forward
    =========  =========  =========  ===========  ===========
    float64    6.1e-08    1.5e-10    not measured not measured
    float32    4.9e-05    3.5e-06    below 0.05 % below 0.2 %
    bfloat16   3.0e-04    1.0e-04    2 to 3 %     8 to 9 %
    float16    3.0e-04    1.0e-04    not measured not measured
    =========  =========  =========  ===========  ===========

    bfloat16 is autocast over weights in float32. At Adam's first step, whose derivative all but
    vanishes, the indirect term is 1e-3 of the direct one or less, and a tenth to a quarter of it
    (central) or half (forward) is rounding. With ``"sgd"`` the forward error is 1 % where the indirect
    term is 1/100 of the direct one, and up to 10 % where it is 1/2000.

    Args:
        scheme: ``"central"`` or ``"forward"``.
        dtype: The coarsest that the passes round to: of W, of alpha, and the autocast dtype.

    Returns:
        The fraction, without unit.
    """
    unit = torch.finfo(dtype).eps
    return min(unit ** (1 / 3) / 100, 3e-4) if scheme == "central" else min(unit ** (1 / 2) / 100, 1e-4)


class _Displaced:
    """Weights moved to ``base + scale * direction`` without writing into their own storage.

    The parameters are pointed at a buffer and back, so that leaving the context gives the original
    storage, bit for bit. ``base`` is consumed where the caller hands over a buffer of its own.
    """

    def __init__(
        self, weights: Sequence[nn.Parameter], base: list[Tensor] | None, direction: list[Tensor]
    ) -> None:
        self.weights = list(weights)
        self.own = [weight.data for weight in self.weights]
        self.direction = direction
        self.buffer = base
        self.at = 0.0

    def __enter__(self) -> _Displaced:
        if self.buffer is None:
            self.buffer = [data.clone() for data in self.own]
        for weight, data in zip(self.weights, self.buffer, strict=True):
            weight.data = data
        return self

    def move_to(self, scale: float) -> None:
        torch._foreach_add_(cast(list[Tensor], self.buffer), self.direction, alpha=scale - self.at)
        self.at = scale

    def __exit__(self, *exception: Any) -> None:
        for weight, data in zip(self.weights, self.own, strict=True):
            weight.data = data


@torch.no_grad()
def mixed_derivative(
    gradient: Gradient,
    weights: Sequence[nn.Parameter],
    direction: Sequence[Tensor],  # shapes: those of weights
    step: float,
    scheme: Scheme = "central",
    base: list[Tensor] | None = None,
    base_gradient: list[Tensor] | None = None,
) -> list[Tensor]:
    """Return the derivative of ``gradient`` along ``direction`` in the space of ``weights``.

    Args:
        gradient: Evaluates the gradient of the inner loss by alpha at the present weights, in the
            same dropout masks at each call. Called twice (central), once or twice (forward).
        weights: W. Displaced during the call; the same storage with the same bits afterwards.
        direction: u.
        step: The number that multiplies u, i.e. epsilon over the norm of u.
        scheme: ``"central"`` or ``"forward"``.
        base: The point to differentiate at; None: the present weights. Overwritten.
        base_gradient: ``gradient()`` at ``base``, where already known (forward scheme only).

    Returns:
        One tensor for each tensor that ``gradient`` returns.
    """
    direction = list(direction)
    with _Displaced(weights, base, direction) as displaced:
        if scheme == "central":
            displaced.move_to(step)
            above = gradient()
            displaced.move_to(-step)
            below, width = gradient(), 2.0 * step
        else:
            below = gradient() if base_gradient is None else base_gradient
            displaced.move_to(step)
            above, width = gradient(), step
    return [(high - low).div_(width) for high, low in zip(above, below, strict=True)]
