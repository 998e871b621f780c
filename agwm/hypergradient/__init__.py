"""The hypergradient: a finite difference for any Betty program. This folder knows nothing of mixing."""

from agwm.hypergradient.settings import HYPERGRADIENT_TYPE, Hypergradient

__all__ = ["HYPERGRADIENT_TYPE", "Hypergradient"]
