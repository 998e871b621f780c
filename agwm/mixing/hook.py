"""The reparametrization hook: reading a weight of a module gives its mixed weights.

A hooked module becomes an instance of a subclass of its own class, of the same name, in which the
weight is a property. ``module._parameters`` still holds the task weights W, so ``parameters()``,
``state_dict()`` and optimizers see W, while whatever reads ``module.weight`` (its own forward, another
module, a layer recomputed by gradient checkpointing) sees the mixed weights. What would write through the
attribute, or take it away, is refused.

What this cannot give is ``model.get_parameter(name)`` of a mixed weight, which asks for the attribute
(as it does under ``torch.nn.utils.parametrize``): use ``dict(model.named_parameters())[name]``.
"""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from agwm.errors import ModelError
from agwm.mixing.mixed_weight import MixedWeight, in_transform, recomputing
from agwm.mixing.read_only import ReadOnlyWeights
from agwm.shards import is_sharded

__all__ = [
    "MIXUP",
    "MixedWeight",
    "Reparametrized",
    "hooked_places",
    "install",
    "is_hooked",
    "recomputing",
    "uninstall",
]

MIXUP = "_agwm_mixup"  # attribute of an injected model that holds its mixup
_SLOTS = "_agwm_mixed_weights"
_LOADING = "_agwm_is_loading"
_REPARAMETRIZING = tuple(
    f"torch.nn.utils.{name}" for name in ("parametri", "weight_norm", "spectral_norm", "prune")
)


class Reparametrized(Protocol):
    """Interface of a reparametrized weight."""

    def mix(self, task: Tensor) -> Tensor:
        """Return what reading the weight gives, for task weights W; with the graph to W."""


class _Hooked(nn.Module):
    """Methods of all hooked classes; the module's own class comes after it among the bases."""

    _agwm_base: type[nn.Module]

    def __init_subclass__(cls) -> None:
        """Stop here: a registry that the module's own class keeps is not told of hooked classes."""

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter, unless it takes the place of W; an assignment gets here too.

        Raises:
            ModelError: If a mixed weight has that name.
        """
        if name in self.__dict__[_SLOTS] and _LOADING not in self.__dict__:
            raise ModelError(_refusal(self, name, "an assignment", "Write W in place, or call merge()"))
        super().register_parameter(name, param)

    def __delattr__(self, name: str) -> None:
        if name in self.__dict__[_SLOTS]:
            raise ModelError(
                _refusal(self, name, "a deletion (as by FullyShardedDataParallel)", "Call merge()")
            )
        super().__delattr__(name)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__[_LOADING] = True  # load_state_dict(assign=True) assigns W
        try:
            super()._load_from_state_dict(*args, **kwargs)
        finally:
            del self.__dict__[_LOADING]

    def __prepare_scriptable__(self) -> nn.Module:
        raise ModelError(_no_torchscript(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle and copy by the module's own class: a hooked one is found under no name."""
        reduced = cast(tuple[Any, ...], super().__reduce_ex__(protocol))
        if reduced[0] is not cast(Any, copyreg).__newobj__:
            return reduced
        attributes = tuple(sorted(self.__dict__[_SLOTS]))
        return (_rebuild, (type(self)._agwm_base, attributes, *reduced[1][1:]), *reduced[2:])


def _rebuild(base: Any, attributes: tuple[str, ...], *args: Any) -> nn.Module:
    return base.__new__(_hooked_class(base, attributes), *args)


def _refusal(module: nn.Module, name: str, what: str, remedy: str) -> str:
    return (
        f"Cannot replace {name!r} of an injected {type(module).__name__}: expected it to stay a mixed"
        f" weight, got {what}. {remedy} of agwm.mixup_of(model) first."
    )


def _no_torchscript(module: nn.Module) -> str:
    return (
        f"Cannot turn an injected {type(module).__name__} into TorchScript: expected a plain module, got"
        " one with mixed weights. Call merge() of agwm.mixup_of(model) first, or use torch.export."
    )


def _like_parameter(mixed: Tensor, weight: Tensor) -> Tensor:
    """Let mixed weights require gradient where W does, also while none is recorded.

    ``torch.matmul`` chooses its kernel by ``requires_grad`` even under ``no_grad``, and another kernel
    adds in another order: the output would equal that of a plain model only up to rounding. Under
    autocast such a leaf would be kept, cast, until autocast ends, and what is multiplied is the cast.
    """
    if not weight.requires_grad or mixed.requires_grad or not isinstance(weight, nn.Parameter):
        return mixed
    is_cast = mixed.dtype == torch.float32 and not mixed.is_meta
    is_cast = is_cast and torch.is_autocast_enabled(mixed.device.type)
    if is_cast or in_transform():
        return mixed
    return mixed.detach().requires_grad_()


def _is_layer_of_torch(reader: Any) -> bool:
    """Return whether a layer of torch reads its own weight in its forward pass.

    It does not write, and the fast paths of attention take no subclass of a tensor.
    """
    is_layer = reader.f_globals.get("__name__", "").startswith("torch.nn.modules.")
    return is_layer and "reset" not in reader.f_code.co_name


def _is_sharding(reader: Any) -> bool:
    """Return whether ``fully_shard`` reads the weight, which looks after W."""
    return reader.f_globals.get("__name__", "").startswith("torch.distributed.")


def _property(attribute: str) -> property:
    def read(module: nn.Module) -> Tensor | None:
        weight = module._parameters.get(attribute)
        if weight is None:
            if attribute in module._parameters:
                return None
            raise AttributeError(attribute)  # nn.Module then says that there is none
        if torch.jit.is_tracing():
            raise ModelError(_no_torchscript(module))
        if is_sharded(weight) and _is_sharding(sys._getframe(1)):
            return weight
        if is_sharded(weight) and torch.is_grad_enabled():
            raise ModelError(
                f"Cannot mix {attribute!r} of a {type(module).__name__}: expected a weight that fully_shard"
                " has gathered, got its shard. Read it in the forward pass of its own module, or under"
                " torch.no_grad()."
            )
        try:
            mixed = module.__dict__[_SLOTS][attribute].mix(weight)
        except AttributeError as error:
            # nn.Module would answer an AttributeError with W itself, unmixed
            raise RuntimeError(f"Mixing {attribute!r} failed: {error}") from error
        if mixed is weight or torch.compiler.is_compiling():
            return mixed
        mixed = _like_parameter(mixed, weight)
        reader = sys._getframe(1)
        if _is_layer_of_torch(reader):
            return mixed
        if reader.f_globals.get("__name__", "").startswith(_REPARAMETRIZING):
            raise ModelError(_refusal(module, attribute, "another reparametrization", "Call merge()"))
        is_plain = type(mixed) is Tensor and not in_transform()
        return mixed.as_subclass(ReadOnlyWeights) if is_plain else mixed

    def write(module: nn.Module, value: object) -> None:
        # nn.Module answers for a Parameter itself; replicas and shards get here
        raise ModelError(
            f"Cannot set {attribute!r} of an injected {type(module).__name__}: expected an"
            f" nn.Parameter, got {type(value).__name__}. Use DistributedDataParallel in place of"
            " DataParallel or FullyShardedDataParallel."
        )

    return property(read, write)


@cache
def _hooked_class(base: Any, attributes: tuple[str, ...]) -> type[nn.Module]:
    namespace: dict[str, object] = {name: _property(name) for name in attributes}
    namespace.update(__module__=base.__module__, __qualname__=base.__qualname__, __doc__=base.__doc__)
    namespace["_agwm_base"] = base
    # not type(...): a metaclass that registers its classes is not told either
    return type.__new__(type(base), base.__name__, (_Hooked, base), namespace)


def is_hooked(module: nn.Module) -> bool:
    """Return whether any weight of this module is mixed."""
    return _SLOTS in module.__dict__


def hooked_places(model: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """Yield the module, attribute and reparametrized weight of every hook in a model."""
    for module in model.modules():
        for attribute, weight in module.__dict__.get(_SLOTS, {}).items():
            yield module, attribute, weight


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
