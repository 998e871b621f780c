"""The version of agwm, in a file of its own so that reading it imports nothing."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.2.0"
