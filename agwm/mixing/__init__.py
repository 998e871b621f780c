"""Weights mixup: the formulas, alpha, and the hook that puts mixed weights into a model. Knows no Betty."""

from agwm.mixing.alpha import Alpha
from agwm.mixing.functions import mix_weights
from agwm.mixing.injection import inject, mixup_of
from agwm.mixing.loading import load
from agwm.mixing.mixup import Mixup

__all__ = ["Alpha", "Mixup", "inject", "load", "mix_weights", "mixup_of"]
