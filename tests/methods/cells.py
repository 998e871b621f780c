"""One cell of methods x families: the method's settings for a tiny model, and whether it works there."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from agwm.errors import MethodError
from agwm.methods import METHODS, Method, RivalsConfig, make_method
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.testing.tiny_models import FAMILIES, pretrained

__all__ = ["CELLS", "EPOCHS", "WORKING", "refusal_of", "small_method"]

EPOCHS = 6
CELLS = [(method, family) for method in METHODS for family in FAMILIES]


def small_method(name: str, epochs: int = EPOCHS) -> Method:
    """Make a method that a tiny run can show: those with epochs of their own, peft's, learn slowly."""
    settings = getattr(RivalsConfig(), name, None)
    if getattr(settings, "epochs", None) is not None:
        settings = replace(settings, epochs=8 * epochs, learning_rate=5e-3)
    return make_method(name, RivalsConfig(**({} if settings is None else {name: settings})))


@cache
def _looked_at(family: str, num_labels: int) -> Pretrained:
    """Build a model that methods look at and leave as it was; this module needs it at its import."""
    return pretrained(family, num_labels)


def refusal_of(name: str, family: str, num_labels: int = 2) -> str | None:
    """Return why a method refuses a family before any training, or None."""
    try:
        small_method(name).check(_looked_at(family, num_labels), FinetuneConfig())
    except MethodError as error:
        return str(error)
    return None


WORKING = [cell for cell in CELLS if refusal_of(*cell) is None]
