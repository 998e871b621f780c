"""Dev and test scores of the labels of a method on the same seeds: the choice that dev scores make."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from agwm.experiments.record import Record
from agwm.experiments.reporting.runs import labels_of
from agwm.experiments.reporting.spread import spread_text
from agwm.markdown import escape, table

__all__ = ["MIN_SEEDS", "DevScores", "dev_scores", "dev_section"]

MIN_SEEDS = 3
_NOTE = """Labels of one method with at least {least} scored seeds, on the seeds that all of these have; dev
and test scores times 100, mean ± standard deviation (ddof 0) over them. Bold: the highest mean dev
score, what a choice by dev takes. A dev set is a sixth of the size of the training set, so that close
dev scores say little; that of a chosen label is too high an estimate, its test score is not.
"""


@dataclass(frozen=True)
class DevScores:
    """One label on one task.

    Attributes:
        task: The task.
        method: The method.
        label: The variant of it.
        dev: Its dev scores on the seeds, as fractions.
        test: Its test scores on the same seeds.
        is_chosen: No label of this method has a higher mean dev score on this task.
    """

    task: str
    method: str
    label: str
    dev: tuple[float, ...]
    test: tuple[float, ...]
    is_chosen: bool


def dev_scores(runs: Sequence[Record]) -> list[DevScores]:
    """Compare the labels of each method on each task, on common seeds.

    Args:
        runs: Runs of one model and size.

    Returns:
        Tasks, methods and labels in order. A method is left out on a task where fewer than two of its
        labels have ``MIN_SEEDS`` runs with a dev and a test score, or where these share fewer seeds.
    """
    found = []
    labels = labels_of(runs)
    methods = dict.fromkeys(next(run.method for run in runs if run.label == label) for label in labels)
    for task in sorted({run.task for run in runs}):
        for method in methods:
            found += _compare(
                task, method, labels, [r for r in runs if (r.task, r.method) == (task, method)]
            )
    return found


def dev_section(runs: Sequence[Record]) -> list[str]:
    """Write the section of :func:`dev_scores`; nothing if no method has two labels."""
    found = dev_scores(runs)
    if not found:
        return []
    lines = []
    for one in found:
        dev = spread_text(statistics.fmean(one.dev), statistics.pstdev(one.dev))
        test = spread_text(statistics.fmean(one.test), statistics.pstdev(one.test))
        lines.append([escape(one.task), one.method, escape(one.label), str(len(one.dev)), dev, test])
        if one.is_chosen:
            lines[-1][4] = f"**{dev}**"
    head = ("task", "method", "label", "seeds", "dev", "test")
    return [
        "### By dev score: the labels of one method\n",
        _NOTE.format(least=MIN_SEEDS),
        table(head, lines, right=range(3, 6)),
    ]


def _compare(task: str, method: str, labels: Sequence[str], runs: Sequence[Record]) -> list[DevScores]:
    scores: dict[str, dict[int, tuple[float, float]]] = {label: {} for label in labels}
    for run in runs:
        if run.score is not None and run.scores.dev is not None:
            scores[run.label][run.seed] = (run.scores.dev, run.score)
    scores = {label: own for label, own in scores.items() if len(own) >= MIN_SEEDS}
    if len(scores) < 2:
        return []
    seeds = sorted(set.intersection(*(set(own) for own in scores.values())))
    if len(seeds) < MIN_SEEDS:
        return []
    highest = max(statistics.fmean(own[seed][0] for seed in seeds) for own in scores.values())
    found = []
    for label, own in scores.items():
        dev, test = zip(*(own[seed] for seed in seeds), strict=True)
        found.append(DevScores(task, method, label, dev, test, statistics.fmean(dev) == highest))
    return found
