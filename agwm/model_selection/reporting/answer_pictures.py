"""Pictures of the answers: calibration, answers against right scores, confusion of many classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from agwm.model_selection.reporting.blocks import Picture
from agwm.model_selection.reporting.held_out import Answers
from agwm.model_selection.reporting.svg import ACCENT, BAD, LINE, SOFT, draw
from agwm.model_selection.reporting.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calibration_picture", "confusion_picture", "scatter_picture"]

_SQUARE = (3.6, 3.2)  # inches


def calibration_picture(
    points: Sequence[tuple[float, float, float, float]], is_multi_label: bool, of: str, name: str
) -> Picture:
    """Draw a reliability curve.

    Args:
        points: Mean probability, share that is right, and the ends of its interval, bin by bin.
        is_multi_label: Each label is an answer.
        of: What the answers are for.
        name: Prefix of the picture's name.
    """

    def paint(figure: Figure) -> None:
        axis = _square(figure)
        axis.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle="--")
        for x, _, low, high in points:
            axis.plot([x, x], [low, high], color=ACCENT, linewidth=1.6, alpha=0.6)
        axis.plot(
            [x for x, *_ in points], [y for _, y, *_ in points], "o-", color=ACCENT, ms=5, linewidth=1.2
        )
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axis.set_xlabel("probability of a label" if is_multi_label else "probability of the answer")
        axis.set_ylabel("share that is right")

    said = "; ".join(f"{number(x, 2)}: {number(y, 2)}" for x, y, *_ in points)
    title = f"Calibration over {of}. Dashed: share and probability are equal. Bars: 95 % intervals."
    return draw(f"{name}-calibration", title, f"Probability: share that is right. {said}.", _SQUARE, paint)


def scatter_picture(answers: Answers, of: str, name: str) -> Picture:
    """Draw answers against right scores."""
    found, right = answers.found, answers.labels
    ends = [float(min(found.min(), right.min())), float(max(found.max(), right.max()))]

    def paint(figure: Figure) -> None:
        axis = _square(figure)
        axis.plot(ends, ends, color=SOFT, linewidth=1, linestyle="--")
        axis.plot(right, found, "o", color=ACCENT, ms=3.5, mew=0, alpha=0.55)
        axis.set_xlabel("right score")
        axis.set_ylabel("answer")

    text = (
        f"{len(found)} answers between {number(float(found.min()))} and {number(float(found.max()))} for"
        f" right scores between {number(float(right.min()))} and {number(float(right.max()))}."
    )
    return draw(f"{name}-scatter", f"Answers over {of}. Dashed: no error.", text, _SQUARE, paint)


def confusion_picture(counts: np.ndarray, names: Sequence[str], of: str, name: str) -> Picture:
    """Draw a confusion matrix of many classes as dots.

    Args:
        counts: Shape (right classes, answers).
        names: Names of the classes.
        of: What the answers are for.
        name: Prefix of the picture's name.
    """
    totals = np.maximum(counts.sum(axis=1), 1)

    def paint(figure: Figure) -> None:
        axis = _square(figure)
        unit = 180 / len(names)  # points
        for (right, found), count in np.ndenumerate(counts):
            if count:
                color = ACCENT if right == found else BAD
                size = max(1.5, unit * float(count / totals[right]) ** 0.5)
                axis.plot([found + 1], [right + 1], "s", color=color, ms=size, mew=0, alpha=0.85)
        axis.set(xlim=(0.3, len(names) + 0.7), ylim=(len(names) + 0.7, 0.3))
        axis.set_xlabel("answered class, by number")
        axis.set_ylabel("right class, by number")

    share = np.trace(counts) / max(1, counts.sum())
    title = (
        f"Confusion matrix over {of}, {len(names)} classes in the order of the table below. Area: share of"
        " the right class. On the diagonal: right answers."
    )
    text = (
        f"{number(float(share))} of {int(counts.sum())} answers are right; the table lists the confusions."
    )
    return draw(f"{name}-confusion", title, text, (4.0, 3.8), paint)


def _square(figure: Figure) -> Axes:
    axis = figure.add_axes((0.16, 0.15, 0.81, 0.82))
    axis.grid(linewidth=0.6, color=LINE)
    axis.set_axisbelow(True)
    axis.tick_params(labelcolor=SOFT)
    return axis
