"""Measure a search on its way: losses, rates, norms of the hypergradient's terms, alpha."""

from __future__ import annotations

import numpy as np
import torch

from agwm.mixing.alpha import Attention
from agwm.search.problems import AttentionProblem, TaskWeightProblem

__all__ = ["alpha_by_weight", "alpha_overall", "numbers_of"]


def numbers_of(inner: TaskWeightProblem, outer: AttentionProblem) -> dict[str, float]:
    """Return the present numbers of a search. What there is none of, as before the first step, is left out.

    Args:
        inner: The problem that owns W.
        outer: The problem that owns alpha.

    Returns:
        ``inner_loss`` and ``outer_loss`` of the last batch, ``inner_rate`` and ``outer_rate`` of the first
        group of each optimizer, ``direct_norm`` and ``indirect_norm`` of the last outer step (none under
        gradient scaling), ``alpha_mean`` and ``alpha_std`` over all numbers of alpha.
    """
    numbers: dict[str, float] = {}
    for name, problem in (("inner", inner), ("outer", outer)):
        if (loss := getattr(problem, "last_loss", None)) is not None:
            numbers[f"{name}_loss"] = float(loss)
        numbers[f"{name}_rate"] = float(problem.optimizer.param_groups[0]["lr"])
    for name, norm in outer.term_norms.items():
        numbers[f"{name}_norm"] = norm
    return {**numbers, **alpha_overall(inner.mixup.attention)}


def alpha_overall(attention: Attention) -> dict[str, float]:
    """Return ``alpha_mean`` and ``alpha_std`` over all numbers of alpha.

    Args:
        attention: The factors of alpha.
    """
    counts, means, spreads = np.array([*_by_weight(attention).values()]).T
    mean = np.average(means, weights=counts)
    variance = np.average(spreads**2 + (means - mean) ** 2, weights=counts)
    return {"alpha_mean": float(mean), "alpha_std": float(np.sqrt(variance))}


def alpha_by_weight(attention: Attention) -> dict[str, float]:
    """Return ``alpha_mean_of/NAME`` and ``alpha_std_of/NAME`` of every mixed weight.

    A store that keeps each name in a file of its own cannot have ``alpha_mean`` and ``alpha_mean/NAME``.

    Args:
        attention: The factors of alpha.
    """
    found: dict[str, float] = {}
    for name, (_, mean, spread) in _by_weight(attention).items():
        found[f"alpha_mean_of/{name}"], found[f"alpha_std_of/{name}"] = mean, spread
    return found


@torch.no_grad()
def _by_weight(attention: Attention) -> dict[str, tuple[int, float, float]]:
    """Return name -> how many numbers alpha has, their mean and standard deviation."""
    found = {}
    for name in attention:
        alpha = attention[name]().double()
        found[name] = alpha.numel(), float(alpha.mean()), float(alpha.std(correction=0))
    return found
