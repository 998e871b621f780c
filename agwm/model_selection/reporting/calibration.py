"""Calibration: are answers given with probability p right with probability p."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from agwm.model_selection.reporting.answer_pictures import calibration_picture
from agwm.model_selection.reporting.blocks import Block, Text
from agwm.model_selection.reporting.held_out import Answers
from agwm.model_selection.reporting.words import number

__all__ = ["Bin", "calibration_bins", "calibration_blocks"]

_BINS, _IN_A_BIN = 10, 20


@dataclass(frozen=True)
class Bin:
    """Answers of like probability.

    Attributes:
        count: Number of answers.
        probability: Mean of their probabilities.
        share: Share of those that are right.
        low: Lower end of Wilson's 95 % interval of the share, in which a row counts once.
        high: Upper end.
    """

    count: int
    probability: float
    share: float
    low: float
    high: float


def calibration_bins(answers: Answers) -> list[Bin]:
    """Sort answers by probability into bins of like size: at most ten, of twenty or more answers.

    An answer is the class with the highest probability; of several labels each label is one.
    """
    if answers.is_multi_label:
        given, right = answers.outputs.ravel(), answers.labels.ravel()
    else:
        given = answers.outputs.max(axis=1)
        right = (answers.found == answers.labels).astype(int)
    order = np.argsort(given, kind="stable")
    bins = []
    for part in np.array_split(order, max(1, min(_BINS, len(order) // (_IN_A_BIN * answers.repeats)))):
        share = float(right[part].mean())
        rows = max(1, round(len(part) / answers.repeats))
        ends = binomtest(round(share * rows), rows).proportion_ci(method="wilson")
        bins.append(Bin(len(part), float(given[part].mean()), share, float(ends.low), float(ends.high)))
    return bins


def calibration_blocks(answers: Answers, of: str, name: str) -> list[Block]:
    """Return the reliability curve, and in words how far probabilities are off."""
    bins = calibration_bins(answers)
    total = sum(one.count for one in bins)
    error = sum(one.count * abs(one.share - one.probability) for one in bins) / total
    mean = sum(one.count * one.probability for one in bins) / total
    share = sum(one.count * one.share for one in bins) / total
    if answers.is_multi_label:
        words = (
            f"The mean probability of a label is {number(mean)}; {number(share)} of them are right labels."
        )
    else:
        words = f"The mean probability of an answer is {number(mean)}; {number(share)} of them are right."
    text = (
        f"Calibration over {of}. {words} Expected calibration error, over {len(bins)}"
        f" bin{'s' * (len(bins) > 1)} of like size: {number(error)}."
    )
    points = [(one.probability, one.share, one.low, one.high) for one in bins]
    return [Text(text), calibration_picture(points, answers.is_multi_label, of, name)]
