"""Which weights there is a pretrained W0 of, to mix with."""

from __future__ import annotations

import dataclasses

from agwm.finetune_config import MixingConfig
from agwm.loading import Pretrained
from agwm.selection import select

__all__ = ["pretrained_only"]


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
