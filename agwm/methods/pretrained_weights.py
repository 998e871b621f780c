"""Mix only the weights that the checkpoint holds, because only they have a pretrained W0."""

from __future__ import annotations

import dataclasses

from agwm.mixing.injection import inject
from agwm.mixing.mixup import Mixup
from agwm.mixing.selection import select
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import MixingConfig

__all__ = ["inject_pretrained", "pretrained_only"]


def pretrained_only(mixing: MixingConfig, loaded: Pretrained) -> MixingConfig:
    """Return settings that exclude weights the checkpoint does not hold, such as a new pooler.

    Args:
        mixing: The settings. They are returned unchanged if ``include`` is set.
        loaded: The model with the names of its fresh parameters.

    Raises:
        SelectionError: If a pattern matches nothing.
    """
    if mixing.include is not None:
        return mixing
    chosen = {candidate.name for candidate in select(loaded.model, None, mixing.exclude)}
    fresh = [name for name in loaded.fresh if name in chosen]
    return dataclasses.replace(mixing, exclude=[*(mixing.exclude or []), *fresh]) if fresh else mixing


def inject_pretrained(loaded: Pretrained, mixing: MixingConfig, seed: int | None = None) -> Mixup:
    """Inject mixed weights in place of weights that the checkpoint holds; see :func:`agwm.inject`.

    Args:
        loaded: The model; changed in place.
        mixing: The settings.
        seed: Seed of the initial alpha.

    Raises:
        SelectionError: If no weight can be mixed.
    """
    return inject(loaded.model, **dataclasses.asdict(pretrained_only(mixing, loaded)), seed=seed)
