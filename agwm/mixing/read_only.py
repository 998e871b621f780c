"""Mixed weights as a read of a layer's attribute gives them: every write raises.

The mixed weights are computed for the read, so a write into them would be lost without a word:
``nn.init.zeros_(layer.weight)``, ``layer.weight.data.fill_(0)``, peft's merge of an adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agwm.errors import ModelError

__all__ = ["ReadOnlyWeights"]

_WRITERS = frozenset(
    {"__set__", "__delete__", "__setitem__", "register_hook", "register_post_accumulate_grad_hook"}
    | {f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")}
    | {f"__i{name}__" for name in ("div", "and", "or", "xor", "lshift", "rshift")}
)
_COPIERS = frozenset({"__reduce_ex__", "__deepcopy__"})


class ReadOnlyWeights(Tensor):
    """A tensor that computes as any other, and raises where it or a view of it is written to."""

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run ``func`` on plain tensors, unless it writes.

        Raises:
            ModelError: If it writes into mixed weights.
        """
        kwargs = {} if kwargs is None else kwargs
        if any(isinstance(target, cls) for target in _targets(func.__name__, args, kwargs)):
            raise ModelError(_refusal(func.__name__))
        with torch._C.DisableTorchFunctionSubclass():
            if func.__name__ in _COPIERS:  # a copy is the caller's own
                args = [args[0].as_subclass(Tensor), *args[1:]]
            result = func(*args, **kwargs)
            if isinstance(result, list | tuple):
                parts = [_guarded(cls, part, args) for part in result]
                is_guarded = any(isinstance(part, cls) for part in parts)
                return type(result)(parts) if is_guarded else result
            return _guarded(cls, result, args)

    def set_(self, *args: Any, **kwargs: Any) -> Tensor:
        """Refuse other memory; torch does not pass this call on as it does the others.

        Raises:
            ModelError: Always.
        """
        raise ModelError(_refusal("set_"))


def _refusal(name: str) -> str:
    what = {"__set__": "an assignment to an attribute", "__setitem__": "an assignment to entries"}
    return (
        f"Cannot write into mixed weights: expected a read, got {what.get(name, repr(name))}, which would"
        " be lost. Write W, dict(model.named_parameters())[name], or call merge() of agwm.mixup_of(model)"
        " first."
    )


def _targets(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Return what a function of torch writes to."""
    outs = kwargs.get("out")
    targets = list(outs) if isinstance(outs, list | tuple) else [outs]
    is_in_place = name.endswith("_") and not name.endswith("__")
    if is_in_place or name in _WRITERS or kwargs.get("inplace"):
        first = args[0] if args else next(iter(kwargs.values()), None)
        targets += list(first) if isinstance(first, list | tuple) else [first]
    return targets


def _guarded(cls: type[Tensor], result: Any, args: Sequence[Any]) -> Any:
    """Return a view of read-only weights as read-only, and anything else as it is."""
    owner = args[0] if args and isinstance(args[0], cls) else None
    if owner is None:
        return result
    if isinstance(result, np.ndarray):
        result.flags.writeable = False
    elif type(result) is Tensor and result.layout is torch.strided:
        if result.untyped_storage()._cdata == owner.untyped_storage()._cdata:
            return result.as_subclass(cls)
    return result
