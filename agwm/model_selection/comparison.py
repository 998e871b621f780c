"""Compare candidates by their folds, and choose one: of those that tie, the cheapest."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agwm.errors import DataError, shown
from agwm.evaluation.significance import (
    LEVEL,
    TTest,
    corrected_error,
    corrected_interval,
    corrected_t_test,
    holm,
)
from agwm.model_selection.record import CandidateRow, Verdict

__all__ = ["compare"]

_AS_CHEAP = 1.25  # costs within this factor are equal: times vary from run to run
_ROUNDING = 1e-9  # of a mean of scores


def compare(
    fold_scores: Mapping[str, Sequence[float | None]],
    constant: str,
    cost: Mapping[str, float],
    num_train: float,
    num_test: float,
    greater_is_better: bool = True,
    *,
    failures: Mapping[str, str] | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> list[CandidateRow]:
    """Choose a candidate by its scores on the folds, and compare the others with it.

    A candidate has learned if it is better than the constant answer by the one-sided corrected t-test at
    5 %. Of those that learned, the candidates that tie with the best mean are the ones that Holm-corrected
    tests do not tell apart from it, and that fall short of it by the standard error of the best mean at
    most. Of the tied, the cheapest is chosen; costs within a quarter are equal, and then the
    one of the smallest deviation over the folds is. A candidate is not chosen while another is told apart
    as better than it. The tests in the rows are those against the chosen one, with Holm's correction over
    all others that learned.

    The bound of one standard error is Breiman's rule. Without it five folds tell so little apart that cheap
    candidates several points lower are chosen. The error is that of the best mean alone: with the error of
    the difference a candidate would tie the more easily, the more its own scores spread.

    The score of the best of many is too high by chance, the more so the more candidates there are and the
    closer they lie: only rows that no choice has seen say how high it is.

    Args:
        fold_scores: Name of a candidate -> its score on each fold, in one order; None: it failed there.
        constant: Name of the constant answer.
        cost: Name -> what a training costs, such as passes or seconds.
        num_train: Rows of a training part, or their mean.
        num_test: Rows of a held-out part, or their mean.
        greater_is_better: False for losses and errors.
        failures: Name -> why it failed.
        bounds: Range of the metric; intervals of scores end there.

    Returns:
        The rows, the best mean first and the failed ones last; ``seconds``, ``passes``, ``settings`` and
        ``scores`` are left for others to fill in. No row is chosen if nothing learned. A candidate that
        failed on a fold has no score. One that did not learn has no difference.

    Raises:
        DataError: If there are fewer than two folds, if candidates differ in their number, if the constant
            answer has not a score on each, if a score is not finite, or a cost is missing.

    Example:
        >>> scores = {"constant": [0.5, 0.5, 0.5], "slow": [0.9, 0.8, 0.85], "fast": [0.88, 0.82, 0.84]}
        >>> rows = compare(scores, "constant", {"constant": 0, "slow": 60, "fast": 2}, 200, 100)
        >>> [(row.name, row.verdict) for row in rows]
        [('slow', 'tied'), ('fast', 'chosen'), ('constant', 'reference')]
    """
    _check(fold_scores, constant, cost)
    whole = {name: [*scores] for name, scores in fold_scores.items() if None not in scores}
    folds = _Folds(
        {name: [float(s) for s in scores if s is not None] for name, scores in whole.items()},
        num_train,
        num_test,
        1 if greater_is_better else -1,
    )
    learned = [n for n in folds.scores if n != constant and folds.is_better(n, constant)]
    chosen = _choose(folds, learned, cost)
    tests = {n: folds.test(n, chosen) for n in folds.scores if chosen not in (None, n)}
    p_values = _holm({n: test for n, test in tests.items() if n in learned})
    rows = []
    for name, scores in fold_scores.items():
        verdict, failure = _verdict(name, folds, constant, learned, chosen, p_values), None
        test = tests.get(name) if verdict != "not learned" else None
        if verdict == "failed":
            count = sum(score is None for score in scores)
            failure = (failures or {}).get(name) or f"failed on {count} of {len(scores)} folds"
        elif verdict == "not learned":
            failure = "not told apart from a constant answer as better than it"
        low, high = folds.interval(name, bounds) if name in folds.scores else (None, None)
        rows.append(
            CandidateRow(
                name=name,
                verdict=verdict,
                score=folds.mean(name) if name in folds.scores else None,
                low=low,
                high=high,
                fold_scores=[*scores],
                seconds=0.0,
                passes=0.0,
                difference=None if test is None else test.difference,
                difference_low=None if test is None else test.low,
                difference_high=None if test is None else test.high,
                p_value=p_values.get(name),
                failure=failure,
            )
        )
    worst = -math.inf
    return sorted(
        rows, key=lambda row: worst if row.score is None else folds.sign * row.score, reverse=True
    )


@dataclass(frozen=True)
class _Folds:
    """Scores of those that have one on each fold."""

    scores: dict[str, list[float]]
    num_train: float
    num_test: float
    sign: int

    def mean(self, name: str) -> float:
        return statistics.fmean(self.scores[name])

    def test(self, first: str, second: str | None) -> TTest:
        other = self.scores[first if second is None else second]
        return corrected_t_test(self.scores[first], other, self.num_train, self.num_test)

    def error(self, name: str) -> float:
        """Return the standard error of a mean; 0 where nothing varies."""
        return corrected_error(self.scores[name], self.num_train, self.num_test) or 0.0

    def interval(self, name: str, bounds: tuple[float, float]) -> tuple[float | None, float | None]:
        low, high = corrected_interval(self.scores[name], self.num_train, self.num_test)
        return (None, None) if math.isnan(low) else (max(low, bounds[0]), min(high, bounds[1]))

    def is_better(self, first: str, second: str) -> bool:
        """Say whether one is better, by the one-sided test; where nothing varies, by any difference."""
        test = self.test(first, second)
        gain = self.sign * (test.difference or 0.0)
        return gain > 0 and (_differs(test) if test.p_value is None else test.p_value / 2 < LEVEL)


def _differs(test: TTest) -> bool:
    """Say whether two differ by the same on all folds, which is more than rounding."""
    return test.p_value is None and abs(test.difference or 0.0) > _ROUNDING


def _holm(tests: Mapping[str, TTest]) -> dict[str, float | None]:
    """Correct the p-values; two that differ by the same on all folds are told apart without one."""
    return dict(zip(tests, holm([test.p_value for test in tests.values()]), strict=True))


def _told_apart(test: TTest, p_value: float | None) -> bool:
    return _differs(test) if p_value is None else p_value < LEVEL


def _choose(folds: _Folds, learned: Sequence[str], cost: Mapping[str, float]) -> str | None:
    if not learned:
        return None
    best = max(learned, key=lambda name: folds.sign * folds.mean(name))
    tests = {name: folds.test(name, best) for name in learned if name != best}
    p_values = _holm(tests)
    reach = folds.error(best) + _ROUNDING
    tied = [best]
    for name, test in tests.items():
        if not _told_apart(test, p_values[name]) and abs(test.difference or 0.0) <= reach:
            tied.append(name)
    while True:
        cheapest = min(cost[name] for name in tied)
        as_cheap = [name for name in tied if cost[name] <= _AS_CHEAP * cheapest]
        chosen = min(as_cheap, key=lambda name: statistics.stdev(folds.scores[name]))
        against = {name: folds.test(name, chosen) for name in learned if name != chosen}
        corrected = _holm(against)
        if chosen == best or not any(
            _told_apart(test, corrected[name]) and folds.sign * (test.difference or 0.0) > 0
            for name, test in against.items()
        ):
            return chosen
        tied.remove(chosen)


def _verdict(
    name: str,
    folds: _Folds,
    constant: str,
    learned: Sequence[str],
    chosen: str | None,
    p_values: Mapping[str, float | None],
) -> Verdict:
    if name == constant:
        return "reference"
    if name not in folds.scores:
        return "failed"
    if name not in learned:
        return "not learned"
    if name == chosen:
        return "chosen"
    return "worse" if _told_apart(folds.test(name, chosen), p_values[name]) else "tied"


def _check(
    fold_scores: Mapping[str, Sequence[float | None]], constant: str, cost: Mapping[str, float]
) -> None:
    """Raise unless the candidates can be compared.

    Raises:
        DataError: If they cannot.
    """
    if None in fold_scores.get(constant, [None]):
        raise DataError(
            f"Nothing to compare with: expected a score of the constant answer {constant!r} on each fold,"
            f" got {shown(fold_scores.get(constant))}. Score it on each."
        )
    count = len(fold_scores[constant])
    wrong = [name for name, scores in fold_scores.items() if len(scores) != count]
    if wrong or count < 2:
        got = f"{len(fold_scores[wrong[0]])} of {wrong[0]!r}" if wrong else str(count)
        raise DataError(
            f"Cannot compare: expected scores on {count if wrong else 'two folds or more'}"
            f"{' folds' if wrong else ''} of each candidate, got {got}. Score all on the same folds."
        )
    for name, scores in fold_scores.items():
        if wrong_scores := [score for score in scores if score is not None and not math.isfinite(score)]:
            raise DataError(
                f"Cannot compare: expected finite scores of {name!r}, or None, got {wrong_scores[0]!r}."
                " Choose a metric that is defined on each fold."
            )
    if missing := [name for name in fold_scores if name not in cost and name != constant]:
        raise DataError(
            f"Cannot choose the cheaper one: expected a cost of each candidate, got none of {missing[0]!r}."
            " Give it one."
        )
