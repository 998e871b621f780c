"""Times in a few words."""

from __future__ import annotations

__all__ = ["duration"]


def duration(seconds: float) -> str:
    """Write a time in seconds, minutes or hours.

    Example:
        >>> duration(5), duration(600), duration(10000)
        ('5 s', '10 min', '2.8 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
