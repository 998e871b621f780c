"""Tests that users run on methods of their own: tiny models of every family, and the rules of a method."""

from agwm.testing.methods import check_method
from agwm.testing.tiny_models import FAMILIES, batch, examples, pretrained

__all__ = ["FAMILIES", "batch", "check_method", "examples", "pretrained"]
