"""Tell whether a score is above chance, given the number of test examples."""

from __future__ import annotations

import math
from collections.abc import Iterable

from agwm.experiments.record import Record

__all__ = ["CHANCE_NOTE", "chance_limit", "count_at_chance", "is_at_chance"]

CHANCE_NOTE = (
    "Not above chance: at most two standard errors above a constant answer, on n test examples: for"
    " accuracy c + 2 sqrt(c (1 - c) / n), c being the best constant answer's; for spearman and pearson"
    " 2 / sqrt(n - 1), for matthews 2 / sqrt(n); f1 is not judged."
)
_ERRORS = 2  # standard errors that are still chance


def chance_limit(metric: str, constant: float, num_test: int) -> float | None:
    """Return the highest score, as a fraction, that a model without skill is likely to get.

    Args:
        metric: A key of ``agwm.data.metrics.METRICS``.
        constant: Score of the best constant answer.
        num_test: Number of test examples.

    Returns:
        The limit; None for a metric that has no simple standard error, such as F1, or below two examples.
    """
    if num_test < 2:
        return None
    if metric == "accuracy":
        return constant + _ERRORS * math.sqrt(constant * (1 - constant) / num_test)
    if metric in ("spearman", "pearson"):
        return _ERRORS / math.sqrt(num_test - 1)
    # n times its square is chi-squared with one degree of freedom where nothing is related
    return _ERRORS / math.sqrt(num_test) if metric == "matthews" else None


def is_at_chance(run: Record) -> bool | None:
    """Return whether a run's score is not above chance; None if that cannot be judged."""
    constant, num_test = run.scores.constant, run.train_info.num_test
    if run.score is None or constant is None or num_test is None:
        return None
    limit = chance_limit(run.scores.metric, constant, num_test)
    return None if limit is None else run.score <= limit


def count_at_chance(runs: Iterable[Record]) -> int | None:
    """Count the runs whose score is not above chance; None if a score cannot be judged."""
    found = [is_at_chance(run) for run in runs if run.score is not None]
    return None if None in found else found.count(True)
