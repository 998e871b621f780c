"""Pictures of the scores: a line a candidate, so that the picture grows with their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agwm.model_selection.record import CandidateRow, FitRecord
from agwm.model_selection.reporting.blocks import Picture
from agwm.model_selection.reporting.svg import ACCENT, BAD, INK, LINE, SOFT, draw, label_inches, short_label
from agwm.model_selection.reporting.words import brief, clean, interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["fold_picture", "score_picture"]

_WIDTH, _LINE, _BELOW, _ABOVE = 4.0, 0.22, 0.5, 0.1  # inches
# Colour, mark and whether it is filled, so that no verdict is told by its colour alone.
_STYLES = {
    "chosen": (ACCENT, "D", True),
    "tied": (ACCENT, "o", False),
    "worse": (SOFT, "o", True),
    "not learned": (BAD, "X", True),
    "reference": (SOFT, "|", True),
}
_OTHER = (BAD, "X", True)
_LEGEND = (
    "Diamond: chosen. Ring: not told apart from it. Dot: worse. Cross: did not learn. Stroke: constant"
    " answer."
)


def score_picture(record: FitRecord) -> Picture:
    """Draw the mean score of each candidate with its interval."""
    scored = [(row, row.score) for row in record.table if row.score is not None]
    rows = [row for row, _ in scored]

    def paint(figure: Figure) -> None:
        axis = _axis(figure, rows, clean(record.metric))
        for place, (row, score) in enumerate(scored):
            color, mark, is_filled = _STYLES.get(row.verdict, _OTHER)
            if row.low is not None and row.high is not None:
                axis.plot([row.low, row.high], [place, place], color=color, linewidth=1.8)
            axis.plot(
                [score], [place], mark, color=color, mfc=color if is_filled else "none", ms=6, mew=1.6
            )
            if row.verdict == "chosen":
                axis.axvline(score, color=ACCENT, linewidth=0.8, linestyle=":")

    said = "; ".join(
        f"{brief(row.name, 40)} {number(row.score)} {interval(row.low, row.high)}" for row in rows[:10]
    )
    more = f"; and {len(rows) - 10} more, in the table" if len(rows) > 10 else ""
    title = f"{clean(record.metric)} with 95 % intervals. {_LEGEND}"
    return draw("scores", title, f"Scores: {said}{more}.", _size(len(rows)), paint)


def fold_picture(record: FitRecord) -> Picture:
    """Draw the score of each candidate on each fold, in the order of the folds from top to bottom."""
    rows = [row for row in record.table if any(score is not None for score in row.fold_scores)]

    def paint(figure: Figure) -> None:
        axis = _axis(figure, rows, clean(record.metric))
        for place, row in enumerate(rows):
            color, _, _ = _STYLES.get(row.verdict, _OTHER)
            count = len(row.fold_scores)
            dots = [
                (score, place + 0.6 * ((fold + 0.5) / count - 0.5))
                for fold, score in enumerate(row.fold_scores)
                if score is not None
            ]
            axis.plot([x for x, _ in dots], [y for _, y in dots], "o", color=color, ms=3, mew=0)
            if row.score is not None:
                axis.plot([row.score, row.score], [place - 0.38, place + 0.38], color=color, linewidth=1.6)

    title = f"{clean(record.metric)} on each fold. Stroke: the mean."
    text = f"Scores of {len(rows)} candidates on each fold; the numbers are in the table of this section."
    return draw("folds", title, text, _size(len(rows)), paint)


def _size(count: int) -> tuple[float, float]:
    return _WIDTH, _ABOVE + _BELOW + _LINE * max(count, 2)


def _axis(figure: Figure, rows: list[CandidateRow], metric: str) -> Axes:
    """Return an axis with a line for each candidate, and room for its name, whatever the font."""
    labels = [short_label(row.name) for row in rows]
    width, height = figure.get_size_inches()
    left = label_inches(labels) + 0.1
    box = (left / width, _BELOW / height, 1 - (left + 0.15) / width, 1 - (_BELOW + _ABOVE) / height)
    axis = figure.add_axes(box)
    for place in range(1, len(rows), 2):  # so that the eye finds the line of a name
        axis.axhspan(place - 0.5, place + 0.5, color=LINE, alpha=0.25, linewidth=0)
    axis.set_yticks(range(len(rows)), labels)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel(short_label(metric, 40), color=INK)
    axis.grid(axis="x", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.locator_params(axis="x", nbins=5)
    ends = [
        end for row in rows for end in (row.low, row.high, row.score, *row.fold_scores) if end is not None
    ]
    if len(set(ends)) == 1:
        margin = 0.1 * abs(ends[0]) or 0.1
        axis.set_xlim(ends[0] - margin, ends[0] + margin)
    return axis
