"""Mean and standard deviation of the scores of a group of runs."""

from __future__ import annotations

import statistics

__all__ = ["Spread", "spread_text"]


class Spread:
    """Mixin: mean and standard deviation of ``scores``."""

    scores: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Mean score; None if no run gave one."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def std(self) -> float | None:
        """Standard deviation of the scores with ddof 0, as published; None below two scores.

        That of one score would be 0, and look like the steadiest of all.
        """
        return statistics.pstdev(self.scores) if len(self.scores) > 1 else None


def spread_text(mean: float | None, std: float | None, plus_minus: str = " ± ") -> str:
    """Write a mean ± standard deviation, both times 100; "-" without a mean."""
    if mean is None:
        return "-"
    return f"{100 * mean:.2f}" + ("" if std is None else f"{plus_minus}{100 * std:.2f}")
