"""The reparametrization hook: reading a weight of a module gives its mixed weights.

A hooked module becomes an instance of a subclass of its own class, of the same name, in which the
weight is a property. ``module._parameters`` still holds the task weights W, so ``parameters()``,
``state_dict()`` and optimizers see W, while whatever reads ``module.weight`` (its own forward, another
module, a layer recomputed by gradient checkpointing) sees the mixed weights.

What this cannot give is ``model.get_parameter(name)`` of a mixed weight, which asks for the attribute
(as it does under ``torch.nn.utils.parametrize``): use ``dict(model.named_parameters())[name]``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from agwm.errors import ModelError
from agwm.mixing.alpha import Alpha
from agwm.mixing.functions import mix_weights

__all__ = ["MixedWeight", "Reparametrized", "install", "is_hooked", "recomputing", "uninstall"]

_SLOTS = "_agwm_mixed_weights"
_RECIPE = "_agwm_recipe"
_present = threading.local()


class Reparametrized(Protocol):
    """Interface of a reparametrized weight."""

    def mix(self, task: Tensor) -> Tensor:
        """Return what reading the weight gives, for task weights W; with the graph to W."""


class MixedWeight:
    """W0, alpha and formula of one mixed weight; all modules that hold W share it.

    Args:
        pretrained: Pretrained weights W0 (same shape as W); follows W's device and dtype.
        alpha: Attention parameters of this weight.
        formula: ``"convex"`` or ``"factored"``.

    Attributes:
        function: The mixing function: ``mix_weights`` or its compiled form.
    """

    def __init__(self, pretrained: Tensor, alpha: Alpha, formula: str) -> None:
        self.pretrained = pretrained
        self.alpha = alpha
        self.formula = formula
        self.function: Callable[..., Tensor] = mix_weights
        self.cache: Tensor | None = None
        self.caching = False

    def mix(self, task: Tensor) -> Tensor:
        """Return the mixed weights for task weights W, with the graph to W and alpha."""
        if self.caching and not torch.is_grad_enabled():
            if self.cache is None:
                self.cache = self._mix(task)
            return self.cache
        return self._mix(task)

    def _mix(self, task: Tensor) -> Tensor:
        if self.pretrained.device != task.device or self.pretrained.dtype != task.dtype:
            self.pretrained = self.pretrained.to(device=task.device, dtype=task.dtype)
        factors = self.alpha.factors()
        if factors and factors[0].device != task.device:
            self.alpha.to(device=task.device)
            factors = self.alpha.factors()
        mixed = self.function(task, self.pretrained, factors, self.formula)
        if factors and getattr(_present, "is_recomputing", False):
            setattr(mixed, _RECIPE, (self, task))
        return mixed


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
    weight, task, *place = packed
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


def _like_parameter(mixed: Tensor, weight: Tensor) -> Tensor:
    """Let mixed weights require gradient where W does, also while none is recorded.

    ``torch.matmul`` chooses its kernel by ``requires_grad`` even under ``no_grad``, and another kernel
    adds in another order: the output would equal that of a plain model only up to rounding.
    """
    is_parameter = isinstance(weight, nn.Parameter) and not torch.compiler.is_compiling()
    if is_parameter and weight.requires_grad and not mixed.requires_grad:
        return mixed.detach().requires_grad_()
    return mixed


def _property(attribute: str) -> property:
    def read(module: nn.Module) -> Tensor:
        weight = cast(nn.Parameter, module._parameters[attribute])
        try:
            return _like_parameter(module.__dict__[_SLOTS][attribute].mix(weight), weight)
        except AttributeError as error:
            # nn.Module would answer an AttributeError with W itself, unmixed
            raise RuntimeError(f"Mixing {attribute!r} failed: {error}") from error

    def write(module: nn.Module, value: object) -> None:
        # nn.Module answers for a Parameter itself; the replicas of nn.DataParallel get here
        raise ModelError(
            f"Cannot set {attribute!r} of an injected {type(module).__name__}: expected an"
            f" nn.Parameter, got {type(value).__name__}. Use DistributedDataParallel in place of"
            " DataParallel."
        )

    return property(read, write)


@cache
def _hooked_class(base: Any, attributes: tuple[str, ...]) -> type[nn.Module]:
    namespace: dict[str, object] = {name: _property(name) for name in attributes}
    namespace.update(__module__=base.__module__, __qualname__=base.__qualname__, __doc__=base.__doc__)
    namespace["_agwm_base"] = base
    return type(base.__name__, (base,), namespace)


def is_hooked(module: nn.Module) -> bool:
    """Return whether any weight of this module is mixed."""
    return _SLOTS in module.__dict__


def install(module: nn.Module, attribute: str, weight: Reparametrized) -> None:
    """Make ``module.<attribute>`` read as mixed weights.

    Args:
        module: A module with a parameter called ``attribute``.
        attribute: Name of the parameter in the module.
        weight: The mixed weight.
    """
    base: Any = getattr(type(module), "_agwm_base", type(module))
    slots = module.__dict__.setdefault(_SLOTS, {})
    slots[attribute] = weight
    module.__class__ = _hooked_class(base, tuple(sorted(slots)))


def uninstall(module: nn.Module) -> None:
    """Give a hooked module its own class back: its weights read as W again."""
    module.__class__ = cast(Any, type(module))._agwm_base
    del module.__dict__[_SLOTS]
