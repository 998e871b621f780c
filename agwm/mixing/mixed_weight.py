"""One mixed weight: its W0, its alpha and formula, and what is kept between passes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from agwm.mixing.alpha import Alpha
from agwm.mixing.formulas import explicit_gradients
from agwm.mixing.functions import mix_weights
from agwm.shards import is_sharded, part_like, whole

__all__ = ["MixedWeight", "in_transform", "recomputing"]

_RECIPE = "_agwm_recipe"
_present = threading.local()
Stamp = list[tuple[Tensor, int, int]]


def in_transform() -> bool:
    """Return whether a transform of ``torch.func`` is at work: its tensors have no memory of their own."""
    return torch._C._are_functorch_transforms_active()


class MixedWeight:
    """W0, alpha and formula of one mixed weight; all modules that hold W share it.

    Args:
        pretrained: Pretrained weights W0 (same shape as W). A pass reads them and never changes them.
        alpha: Attention parameters of this weight.
        formula: ``"convex"`` or ``"factored"``.

    Attributes:
        function: The mixing function: ``mix_weights`` or its compiled form.
        caching: True while passes without gradient keep the mixed weights.
        note: Called in backward with the gradient by the mixed weights of each read; None: nobody asks.
    """

    def __init__(self, pretrained: Tensor, alpha: Alpha, formula: str) -> None:
        self.pretrained = pretrained
        self.alpha = alpha
        self.formula = formula
        self.function: Callable[..., Tensor] = mix_weights
        self.caching = False
        self.note: Callable[[Tensor], None] | None = None
        self._cache: tuple[bool, Stamp, Tensor] | None = None
        self._converted: dict[tuple[torch.device, torch.dtype], tuple[int, Tensor]] = {}

    def pretrained_like(self, task: Tensor) -> Tensor:
        """Return W0 in device and dtype of W: W0 itself, or a copy that is kept for the next pass.

        W0 stays as it is: a pass in half precision would round it for good, and one on the meta device
        would lose it.
        """
        own = self.pretrained
        if own.device == task.device and own.dtype == task.dtype:
            return own
        if torch.compiler.is_compiling():
            return own.to(device=task.device, dtype=task.dtype)
        key = (task.device, task.dtype)
        version, converted = self._converted.get(key, (-1, own))
        if version != own._version:
            # made in inference mode, it could not be used in training afterwards
            with torch.inference_mode(False), torch.no_grad():
                converted = own.to(device=task.device, dtype=task.dtype)
            self._converted[key] = (own._version, converted)
        return converted

    def follow_(self, task: Tensor) -> None:
        """Move W0 and alpha to the device of W for good; shard W0 where W is sharded."""
        self.alpha.to(task.device)
        if not is_sharded(self.pretrained):
            self.pretrained = part_like(self.pretrained.to(task.device), task)
        self._converted = {}

    def mix(self, task: Tensor) -> Tensor:
        """Return the mixed weights for task weights W, with the graph to W and alpha."""
        is_free = torch.is_grad_enabled() or torch.compiler.is_compiling()
        if not self.caching or is_free or in_transform():
            return self._mix(task)
        is_inference = torch.is_inference_mode_enabled()
        if self._cache is None or self._cache[0] is not is_inference or not _is_current(self._cache[1]):
            self._cache = None
        if self._cache is None or self._cache[1][0][0] is not task:
            self._cache = (is_inference, self._stamp(task), self._mix(task))
        return self._cache[2]

    def forget(self) -> None:
        """Keep the mixed weights no longer."""
        self.caching, self._cache = False, None

    def _mix(self, task: Tensor) -> Tensor:
        device = task.device
        factors = [f if f.device == device else f.to(device) for f in self.alpha.factors()]
        if is_sharded(self.pretrained):
            mixed = self._mix_whole(whole(task), factors)
        else:
            mixed = self.function(task, self.pretrained_like(task), factors, self.formula)
        if factors and getattr(_present, "is_recomputing", False) and not in_transform():
            setattr(mixed, _RECIPE, (self, task, self._stamp(task)))
        if self.note is not None and factors and mixed.requires_grad and not in_transform():
            mixed.register_hook(self.note)
        return mixed

    def _mix_whole(self, task: Tensor, factors: list[Tensor]) -> Tensor:
        """Mix weights in full, as ``fully_shard`` gathers them for a pass; W0 is gathered for it alone.

        Backward gathers W0 again: no process keeps more of it than its part.
        """

        def gathered() -> Tensor:
            return whole(self.pretrained).to(device=task.device, dtype=task.dtype)

        pretrained = gathered()
        memory = pretrained.data_ptr()

        def pack(saved: Tensor) -> Tensor | None:
            return None if saved.data_ptr() == memory else saved

        def unpack(packed: Tensor | None) -> Tensor:
            return gathered() if packed is None else packed

        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            return self.function(task, pretrained, factors, self.formula)

    def explicit_part(self, slope: Tensor, direction: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
        """Return the explicit part of the mixed derivative by each parameter of alpha.

        Args:
            slope: G, the gradient of the loss by the mixed weights.
            direction: u, of the same shape.
        """
        learned = [parameter for parameter in self.alpha.parameters() if parameter.requires_grad]
        with torch.enable_grad():
            factors = [factor.to(slope.device) for factor in self.alpha.factors()]
        needs = [factor.requires_grad for factor in factors]
        found = explicit_gradients(needs, slope, direction, *(factor.detach() for factor in factors))
        made = [(f, g) for f, g in zip(factors, found, strict=True) if g is not None]
        if not made or not learned:
            return []
        # a form of one's own may make its factors of its parameters
        outputs, gradients = zip(*made, strict=True)
        terms = torch.autograd.grad(outputs, learned, gradients, allow_unused=True)
        return [(p, g) for p, g in zip(learned, terms, strict=True) if g is not None]

    def _stamp(self, task: Tensor) -> Stamp:
        """Return everything that the mixed weights depend on, W first, with its version and memory."""
        return [
            (tensor, -1 if tensor.is_inference() else tensor._version, tensor.data_ptr())
            for tensor in (task, self.pretrained, *self.alpha.parameters(), *self.alpha.buffers())
        ]


def _is_current(stamp: Stamp) -> bool:
    """Return whether no tensor was changed since; in inference mode torch does not count changes."""
    return all(
        (version == -1 or tensor._version == version) and tensor.data_ptr() == memory
        for tensor, version, memory in stamp
    )


def _pack(saved: Tensor) -> Any:
    """Put a recipe in place of mixed weights, or of a view of them such as their transpose."""
    owner = saved if saved._base is None else saved._base
    recipe = getattr(owner, _RECIPE, None)
    if recipe is None:
        return saved
    return (*recipe, saved.size(), saved.stride(), saved.storage_offset())


@torch.no_grad()
def _unpack(packed: Any) -> Tensor:
    if isinstance(packed, Tensor):
        return packed
    weight, task, stamp, *place = packed
    if not _is_current(stamp):
        raise RuntimeError(
            "Cannot mix weights again for backward: expected W and alpha of the forward pass, got ones"
            " that were changed since. Call backward() before the weights change."
        )
    return weight._mix(task).as_strided(*place)


@contextmanager
def recomputing() -> Iterator[None]:
    """Let forward passes in the body keep no mixed weights for backward, but mix them again there."""
    outside = getattr(_present, "is_recomputing", False)
    _present.is_recomputing = True
    try:
        with torch.autograd.graph.saved_tensors_hooks(_pack, _unpack):
            yield
    finally:
        _present.is_recomputing = outside
