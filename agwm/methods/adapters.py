"""Base class of the methods that use the ``peft`` library."""

from __future__ import annotations

import importlib
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from torch import nn

from agwm.errors import MissingExtraError
from agwm.methods.method import OneLevelMethod
from agwm.models.families import head_names
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.rng import seed_everything

__all__ = ["ADAPTER", "Adapter", "fresh_modules", "peft_library", "quiet_peft"]

# The name that peft gives the only adapter of a model.
ADAPTER = "default"


def peft_library(method: str) -> ModuleType:
    """Import peft.

    Args:
        method: Name of the method that needs peft, for the error.

    Raises:
        MissingExtraError: If peft is not installed.
    """
    try:
        return importlib.import_module("peft")
    except ImportError:
        raise MissingExtraError(
            f"Method {method!r} needs the library peft: expected the extra 'peft', got none."
            " Run: pip install 'agwm[peft]'"
        ) from None


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Hide the warning that peft uses a deprecated name of transformers. Other warnings appear."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def fresh_modules(loaded: Pretrained) -> list[str]:
    """Return the outermost modules that hold only weights of the head or weights the checkpoint lacks.

    By itself, peft trains only modules called ``classifier`` or ``score``. It would freeze other modules
    at their random start: DeBERTa's pooler, the heads of XLNet and BART, and a pooler of BERT that the
    checkpoint does not hold.
    """
    names = {*head_names(loaded.model), *loaded.fresh}
    everything = [name for name, _ in loaded.model.named_parameters()]
    modules = set()
    for name in names:
        parts = name.split(".")
        prefixes = [".".join(parts[:end]) for end in range(1, len(parts))]
        inside = {
            prefix: all(other in names for other in everything if other.startswith(f"{prefix}."))
            for prefix in prefixes
        }
        modules.update([prefix for prefix in prefixes if inside[prefix]][:1])
    return sorted(modules)


class Adapter(OneLevelMethod):
    """Base class: peft freezes the backbone and adds a few new weights. The head is trained too."""

    acts_on = ("reparametrization",)

    @abstractmethod
    def adapter_config(self, loaded: Pretrained) -> Any:
        """Return peft's settings, a new object at each call, because peft changes it in place.

        Args:
            loaded: The pretrained model.
        """

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if peft is not installed.

        Raises:
            MissingExtraError: If peft is not installed.
        """
        peft_library(self.name)

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Put the adapter around the model.

        Raises:
            MethodError: If the method does not fit the model, or peft would freeze a part of the head.
        """
        self.check(loaded, recipe)
        expected = {*head_names(loaded.model), *loaded.fresh}
        seed_everything(seed)
        with quiet_peft():
            model = peft_library(self.name).get_peft_model(loaded.model, self.adapter_config(loaded))
        trained = [
            name.replace(f"modules_to_save.{ADAPTER}.", "")
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        ]
        frozen = sorted(name for name in expected if not any(key.endswith(f".{name}") for key in trained))
        if frozen:
            raise self.refuse(loaded.model, f"expected its head to be trained, got frozen: {frozen[0]!r}.")
        return model
