"""Pictures with a lane a method: the name stands at the lane, so that forty can be told apart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agwm.experiments.reporting.picture_parts import KNOWN_STYLES, new_figure, save_figure, set_log_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MANY", "Column", "Lanes", "draw_lanes"]

# More labels than this are not told apart by colours and marks in a cloud of dots.
MANY = 12
_OTHERS = "0.35"


@dataclass(frozen=True)
class Column:
    """Numbers of every lane.

    Attributes:
        name: What they are.
        values: Label -> numbers, in any order.
        is_cost: They are shown on a logarithmic scale, if all are above zero.
        has_zero: A line marks zero.
    """

    name: str
    values: Mapping[str, Sequence[float]]
    is_cost: bool = False
    has_zero: bool = False


@dataclass(frozen=True)
class Lanes:
    """Columns side by side, with a lane a label.

    Attributes:
        title: Title.
        labels: Labels from top to bottom.
        columns: What is shown of each.
        names: Label -> its name in the picture, where that is another.
    """

    title: str
    labels: Sequence[str]
    columns: Sequence[Column]
    names: Mapping[str, str] = field(default_factory=dict)


def draw_lanes(groups: Sequence[Lanes], path: str | Path) -> None:
    """Draw groups of lanes below each other: small dots are the numbers, a large one is their mean.

    Args:
        groups: Groups with as many columns each.
        path: PNG, PDF or SVG file to write, by its ending.

    Raises:
        DataError: If the file cannot be written.
        MissingExtraError: If matplotlib is not installed.
    """
    columns = max(len(group.columns) for group in groups)
    heights = [0.9 + 0.2 * len(group.labels) for group in groups]
    figure = new_figure(3.6 * columns, sum(heights))
    axes = figure.subplots(len(groups), columns, squeeze=False, height_ratios=heights)
    for group, line in zip(groups, axes, strict=True):
        for place, axis in enumerate(line):
            _draw(axis, group, group.columns[place], has_names=place == 0)
    save_figure(figure, path)


def _draw(axis: Axes, group: Lanes, column: Column, has_names: bool) -> None:
    for place, label in enumerate(group.labels):
        axis.axhspan(place - 0.5, place + 0.5, color="0.5", alpha=0.08 if place % 2 else 0, linewidth=0)
        values = list(column.values.get(label, ()))
        if not values:
            continue
        color, marker = KNOWN_STYLES.get(label, (_OTHERS, "o"))
        mean = statistics.fmean(values)
        axis.plot(values, [place] * len(values), "o", color=color, markersize=2.5, alpha=0.6)
        axis.plot([min(values), max(values)], [place, place], color=color, linewidth=1, alpha=0.6)
        axis.plot([mean], [place], marker, color=color, markersize=6)
    axis.set_ylim(len(group.labels) - 0.5, -0.5)
    names = [group.names.get(label, label) if has_names else "" for label in group.labels]
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(column.name, fontsize=9)
    if has_names:
        axis.set_title(group.title, fontsize=10, loc="left")
    numbers = [value for values in column.values.values() for value in values]
    if column.is_cost and numbers and min(numbers) > 0:
        set_log_scale(axis)
    if column.has_zero:
        axis.axvline(0, color="0.3", linewidth=1)
    axis.grid(axis="x", alpha=0.3)
