"""Tell custom autograd functions which gradients a backward pass needs.

PyTorch reports only which inputs *can* have one.

``torch.autograd.grad(loss, some)`` runs the backward of a ``torch.autograd.Function`` with
``ctx.needs_input_grad`` as it was in the forward pass, and throws away what ``some`` does not hold. A
:class:`ForwardPass` tells the functions of one forward pass, once its backward is asked for, which
parameters are wanted. The forward pass itself is the same, kernels included.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from agwm.shards import any_sharded

__all__ = ["ForwardPass", "needed", "note_inputs"]

_present = threading.local()


class ForwardPass:
    """One forward pass, entered while it runs; its gradients are taken by :meth:`gradients`.

    What is wanted holds for that call alone and for the nodes of this pass alone: gradients that are
    taken inside the pass, or of a part of it later, are complete. A layer that is recomputed in
    backward is outside of it, and computes all.
    """

    def __init__(self) -> None:
        self.wanted: frozenset[int] | None = None

    def __enter__(self) -> ForwardPass:
        self._outside = getattr(_present, "value", None)
        _present.value = self
        return self

    def __exit__(self, *exception: Any) -> None:
        _present.value = self._outside

    @contextmanager
    def only(self, tensors: Sequence[Tensor]) -> Iterator[None]:
        """Let the body's backward compute no other parameter's gradient than those of ``tensors``."""
        self.wanted = frozenset(map(id, tensors))
        try:
            yield
        finally:
            self.wanted = None

    def gradients(
        self, loss: Tensor, tensors: Sequence[Tensor], leaves: Sequence[Tensor] = ()
    ) -> tuple[Tensor | None, ...]:
        """Return the gradient of ``loss`` by each tensor; None where it does not depend on it.

        Args:
            loss: The loss.
            tensors: What it is differentiated by.
            leaves: All parameters that it may depend on. Where one of them is sharded, the gradient by
                sharded ones is the average over all processes.
        """
        if any_sharded(leaves):
            return _gradients_of_shards(loss, tensors, leaves)
        with self.only(tensors):
            return torch.autograd.grad(loss, tensors, allow_unused=True)


def _gradients_of_shards(
    loss: Tensor, tensors: Sequence[Tensor], leaves: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """Return gradients by way of ``.grad``, which is left as it was.

    The graph holds weights as ``fully_shard`` gathered them. A whole backward pass alone puts their
    gradients into ``.grad`` of the sharded ones, and frees what was gathered.
    """
    leaves = list({id(leaf): leaf for leaf in (*tensors, *leaves)}.values())
    held = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    try:
        loss.backward()
        return tuple(tensor.grad for tensor in tensors)
    finally:
        for leaf, gradient in zip(leaves, held, strict=True):
            leaf.grad = gradient


def note_inputs(ctx: Any, inputs: Sequence[Any]) -> None:
    """Note the present pass and the parameters among the inputs; for ``setup_context``."""
    present = None if torch.compiler.is_compiling() else getattr(_present, "value", None)
    ctx.forward_pass = present
    if present is not None:
        # of what is no leaf, the gradient may be on its way to a parameter that is wanted
        ctx.leaves = [id(t) if isinstance(t, nn.Parameter) and t.is_leaf else None for t in inputs]


def needed(ctx: Any) -> tuple[bool, ...]:
    """Return for each input whether this backward pass needs its gradient; for ``backward``."""
    needs = ctx.needs_input_grad
    wanted = None if ctx.forward_pass is None else ctx.forward_pass.wanted
    if wanted is None:
        return needs
    return tuple(
        need and (leaf is None or leaf in wanted) for need, leaf in zip(needs, ctx.leaves, strict=True)
    )
