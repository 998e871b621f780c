"""Switch the dropout of a backbone off and on again, in every family."""

from __future__ import annotations

from typing import Literal

from torch import nn
from transformers import PreTrainedModel

__all__ = ["BackboneDropout", "BackboneDropoutMode"]

# Values of the setting ``dropout``, for the methods that their authors train without dropout.
BackboneDropoutMode = Literal["off", "keep"]


def _attributes(module: nn.Module) -> list[str]:
    """Return the attributes of a module that hold a probability of dropout.

    BART and Llama have no ``nn.Dropout``. Their modules keep the probability as an attribute and
    call the dropout function.
    """
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return ["p"]
    return [
        name
        for name, value in vars(module).items()
        if (name == "dropout" or name.endswith("_dropout"))
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ]


class BackboneDropout:
    """Sets all dropout in the backbone to 0. The head keeps its dropout, and the config is not changed.

    Args:
        model: The model; changed in place until :meth:`restore`.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._before = [
            (module, name, getattr(module, name))
            for module in model.base_model.modules()
            for name in _attributes(module)
        ]
        for module, name, _ in self._before:
            setattr(module, name, 0.0)

    def restore(self) -> None:
        """Restore the probabilities of dropout."""
        for module, name, value in self._before:
            setattr(module, name, value)
        self._before = []
