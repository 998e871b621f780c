"""Mixing of the weights that there is a pretrained W0 of."""

from __future__ import annotations

import dataclasses

from agwm.mixing.mixup import Mixup, inject
from agwm.mixing.selection import select
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import MixingConfig

__all__ = ["inject_pretrained", "pretrained_only"]


def pretrained_only(mixing: MixingConfig, loaded: Pretrained) -> MixingConfig:
    """Leave weights that the checkpoint does not hold, such as a new pooler, out of the mixing.

    Args:
        mixing: The settings; where ``include`` names weights, they are left as they are.
        loaded: The model, and which of its weights are fresh.

    Raises:
        SelectionError: If a pattern matches nothing.
    """
    if mixing.include is not None:
        return mixing
    chosen = {candidate.name for candidate in select(loaded.model, None, mixing.exclude)}
    fresh = [name for name in loaded.fresh if name in chosen]
    return dataclasses.replace(mixing, exclude=[*(mixing.exclude or []), *fresh]) if fresh else mixing


def inject_pretrained(loaded: Pretrained, mixing: MixingConfig, seed: int | None = None) -> Mixup:
    """Inject mixed weights in place of those that the checkpoint holds; see :func:`agwm.inject`.

    Args:
        loaded: The model; changed in place.
        mixing: The settings.
        seed: Of alpha's start.

    Raises:
        SelectionError: If no weight can be mixed.
    """
    return inject(loaded.model, **dataclasses.asdict(pretrained_only(mixing, loaded)), seed=seed)
