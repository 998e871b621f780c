"""Read how many processes a launcher such as ``torchrun`` or ``accelerate launch`` has started."""

from __future__ import annotations

import os
from collections.abc import Mapping

__all__ = ["started_processes"]


def started_processes(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of processes that were started together, by the variables of the launcher; else 1.

    Example:
        >>> started_processes({"RANK": "0", "WORLD_SIZE": "2"}), started_processes({"WORLD_SIZE": "2"})
        (2, 1)
    """
    size = environment.get("WORLD_SIZE", "")
    return int(size) if "RANK" in environment and size.isdecimal() else 1
