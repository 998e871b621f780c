"""Say that ``save_pretrained`` of an injected model writes W, not the weights that the model computes with.

Hugging Face's ``Trainer`` calls it for its checkpoints, which must hold W: it loads them into the injected
model again. So W is written, and the user is told once.
"""

from __future__ import annotations

import warnings
import weakref
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from agwm.errors import AgwmWarning, ModelError
from agwm.mixing.hook import MIXUP

__all__ = ["notice_saving", "stop_noticing"]

_ATTRIBUTE = "save_pretrained"


class _NoticedSave:
    """Takes the place of a model's ``save_pretrained`` while the model is injected.

    Args:
        model: The model, or a part of it that can be saved.
        mixup: The mixup. Held weakly: a copy of a part does not copy the whole model.
    """

    def __init__(self, model: PreTrainedModel, mixup: Any) -> None:
        self.model = model
        self._mixup: Any = weakref.ref(mixup)

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "_mixup": _nothing}

    def __deepcopy__(self, memo: dict[int, Any]) -> _NoticedSave:
        twin = object.__new__(type(self))
        twin.model, twin._mixup = memo.get(id(self.model), self.model), self._mixup
        return twin

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Save the model as its class does, after the notice.

        Raises:
            ModelError: If the model is a copy of a part of an injected model: W alone is of no use, as
                nothing keeps W0 and alpha.
        """
        mixup = self.model.__dict__.get(MIXUP) or self._mixup()
        if mixup is None or all(module is not self.model for module in mixup.model.modules()):
            raise ModelError(
                f"Cannot save this {type(self.model).__name__}: expected a plain model, got a copy of a"
                " part of an injected one. Call merge() of agwm.mixup_of(part) first."
            )
        if not mixup.has_noticed_saving:
            mixup.has_noticed_saving = True
            warnings.warn(
                f"{type(self.model).__name__}.save_pretrained writes the task weights W: expected the mixed"
                " weights that the model computes with, got W alone. Call merge() of the mixup before you"
                " save the model for use, or save W, W0 and alpha with mixup.save_pretrained.",
                AgwmWarning,
                stacklevel=2,
            )
        return type(self.model).save_pretrained(self.model, *args, **kwargs)


def _nothing() -> None:
    """Stand for the mixup where it cannot be found, as in another process."""


def notice_saving(model: nn.Module, mixup: Any) -> None:
    """Let every Hugging Face model in an injected model say what its ``save_pretrained`` writes."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            module.__dict__[_ATTRIBUTE] = _NoticedSave(module, mixup)


def stop_noticing(model: nn.Module) -> None:
    """Give every Hugging Face model in a model its own ``save_pretrained`` back."""
    for module in model.modules():
        if isinstance(module.__dict__.get(_ATTRIBUTE), _NoticedSave):
            del module.__dict__[_ATTRIBUTE]
