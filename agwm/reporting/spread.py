"""Mean and standard deviation of the scores of a group of runs."""

from __future__ import annotations

import statistics

__all__ = ["Spread"]


class Spread:
    """What has ``scores``, as fractions, has these two."""

    scores: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Mean score, or None where no run gave one."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def std(self) -> float | None:
        """Standard deviation of the score with ddof 0, as published, or None."""
        return statistics.pstdev(self.scores) if self.scores else None
