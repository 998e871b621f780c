"""The methods that the examples compare: how each trains, what it does afterwards, and its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from outer_data.afterwards import alpha_after, nothing, wise_ft
from outer_data.ground import Ground
from outer_data.trainings import (
    Settings,
    decay_to_start,
    outer_only,
    plain,
    searched,
    union,
)

Training = Callable[[Ground, Settings, int], nn.Module]
Afterwards = Callable[[Ground, Mapping[str, Tensor], Settings, int], nn.Module]

_RATES = (5e-5, 1e-4, 2e-4, 4e-4)  # of W, the same for all methods
_RATES_OF_W = tuple(Settings(learning_rate=rate) for rate in _RATES)
_RATES_OF_BOTH = tuple(Settings(rate, attention_learning_rate=1e-1) for rate in _RATES)
_PULLS = tuple(Settings(rate, strength=100.0) for rate in _RATES)


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        train: Finetunes.
        settings: What the settings are chosen from; every method has as many.
        then: What is done to the finetuned model.
    """

    train: Training
    settings: tuple[Settings, ...]
    then: Afterwards = nothing

    def run(self, ground: Ground, settings: Settings, seed: int) -> nn.Module:
        """Return the finished model."""
        return self.then(ground, self.train(ground, settings, seed).state_dict(), settings, seed)

    def training(self, settings: Settings) -> tuple[Training, Settings]:
        """Return what the training depends on: methods for which it is equal can share one."""
        if self.train is plain:
            settings = Settings(learning_rate=settings.learning_rate, epochs=settings.epochs)
        return self.train, settings


METHODS: dict[str, Method] = {
    "plain": Method(plain, _RATES_OF_W),
    "union": Method(union, _RATES_OF_W),
    "outer_only": Method(outer_only, _RATES_OF_W),
    "wise_ft": Method(plain, _RATES_OF_W, wise_ft),
    "decay_to_start": Method(decay_to_start, _PULLS),
    "after_scalar": Method(plain, _RATES_OF_BOTH, alpha_after("scalar")),
    "after_rank1": Method(plain, _RATES_OF_BOTH, alpha_after("rank1")),
    "agwm_scalar": Method(searched("scalar"), _RATES_OF_BOTH),
    "agwm_rank1": Method(searched("rank1"), _RATES_OF_BOTH),
}
