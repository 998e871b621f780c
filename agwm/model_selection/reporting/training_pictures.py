"""Pictures of the training: losses and scores step by step, and alpha by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agwm.model_selection.record import FoldRecord
from agwm.model_selection.reporting.blocks import Picture
from agwm.model_selection.reporting.svg import ACCENT, LINE, SERIES, SOFT, draw, short_label
from agwm.model_selection.reporting.words import brief

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["alpha_picture", "curve_picture"]

_NO_NUMBERS = {"phase", "step"}
_PANELS = 4


def curve_picture(candidate: str, folds: Sequence[FoldRecord], name: str) -> Picture:
    """Draw losses and scores of one candidate against steps: a panel a number, a thin line a fold.

    Args:
        candidate: Its name.
        folds: Folds with a history.
        name: Prefix of the picture's ids.
    """
    known = _keys(folds)
    keys = known[:_PANELS]
    more = f"; {len(known) - _PANELS} more numbers are not drawn" if len(known) > _PANELS else ""
    phases = list(
        dict.fromkeys(str(point.get("phase", "training")) for fold in folds for point in fold.history)
    )

    def paint(figure: Figure) -> None:
        axes = figure.subplots(len(keys), 1, squeeze=False, sharex=True)[:, 0]
        height = figure.get_size_inches()[1]
        figure.subplots_adjust(0.16, 0.42 / height, 0.97, 1 - 0.24 / height, hspace=0.35)
        for axis, key in zip(axes, keys, strict=True):
            for place, phase in enumerate(phases):
                color = SERIES[place % len(SERIES)]
                for fold in folds:
                    points = _points(fold, phase, key)
                    x, y = [x for x, _ in points], [y for _, y in points]
                    style = {"color": color, "linewidth": 1.1, "alpha": 0.75, "ms": 3}
                    label = short_label(phase) if fold is folds[0] else None
                    axis.plot(x, y, marker="o" if len(points) == 1 else None, label=label, **style)
            axis.set_title(short_label(key, 40), loc="left", fontsize=9)
            axis.grid(linewidth=0.6, color=LINE)
            axis.tick_params(labelcolor=SOFT)
            axis.locator_params(axis="y", nbins=4)
        if len(phases) > 1:
            axes[0].legend(frameon=False, fontsize=8)
        axes[-1].set_xlabel("step")

    many = f"{len(folds)} fold{'s' * (len(folds) > 1)}"
    numbers = ", ".join(brief(key, 40) for key in keys)
    text = f"{numbers} against steps, in {many}; phases: {', '.join(brief(p, 40) for p in phases)}."
    title = f"{brief(candidate, 80)}: {numbers}{more}"
    return draw(name, title, text, (4.0, 0.6 + 1.35 * len(keys)), paint)


def alpha_picture(
    candidate: str, layers: Sequence[str], values: Sequence[Sequence[float | None]], name: str
) -> Picture:
    """Draw the mean of 1 - alpha of each layer, from the smallest to the largest of its matrices.

    Args:
        candidate: Name of the candidate.
        layers: Names of the layers.
        values: 1 - alpha by layer and matrix; None where there is none.
        name: Prefix of the picture's ids.
    """
    lines = [[1000 * value for value in line if value is not None] for line in values]

    def paint(figure: Figure) -> None:
        height = figure.get_size_inches()[1]
        axis = figure.add_axes((0.2, 0.45 / height, 0.76, 1 - 0.55 / height))
        for place, line in enumerate(lines):
            axis.plot([min(line), max(line)], [place, place], color=ACCENT, linewidth=1.6, alpha=0.6)
            axis.plot([sum(line) / len(line)], [place], "o", color=ACCENT, ms=5)
        axis.set_yticks(range(len(layers)), layers)
        axis.set_ylim(len(layers) - 0.4, -0.6)
        axis.set_xlabel("1 − α in thousandths")
        axis.grid(axis="x", linewidth=0.6, color=LINE)

    said = "; ".join(
        f"{layer} {sum(line) / len(line):.1f}" for layer, line in zip(layers, lines, strict=True)
    )
    title = (
        f"{brief(candidate, 80)}: 1 − α by layer. Dot: mean of the layer's matrices. Bar: smallest to"
        " largest."
    )
    size = (4.0, 0.6 + 0.2 * max(len(layers), 3))
    return draw(name, title, f"1 − α in thousandths: {said}.", size, paint)


def _keys(folds: Sequence[FoldRecord]) -> list[str]:
    """Return the names of numbers in histories, losses first."""
    found = dict.fromkeys(
        key
        for fold in folds
        for point in fold.history
        for key, value in point.items()
        if key not in _NO_NUMBERS and _is_number(value)
    )
    return sorted(found, key=lambda key: "loss" not in key)


def _points(fold: FoldRecord, phase: str, key: str) -> list[tuple[float, float]]:
    return [
        (float(point.get("step", place)), float(point[key]))
        for place, point in enumerate(fold.history)
        if str(point.get("phase", "training")) == phase and _is_number(point.get(key))
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
