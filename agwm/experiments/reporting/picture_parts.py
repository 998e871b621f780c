"""Parts of every picture: a figure without a display, a style for each method, saving."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agwm.errors import MissingExtraError
from agwm.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "KNOWN_STYLES",
    "add_legend",
    "grid_of_axes",
    "new_figure",
    "save_figure",
    "set_log_scale",
    "styles_of",
]

# Those that a reader looks for first keep their colours (Okabe and Ito) from picture to picture.
KNOWN_STYLES = {
    "vanilla": ("#0072B2", "o"),
    "vanilla_long": ("#56B4E9", "s"),
    "frozen": ("#E69F00", "^"),
    "agwm": ("#D55E00", "D"),
}
_COLORS = ("#009E73", "#CC79A7", "#000000", "#8C564B", "#7F7F7F", "#6A3D9A")
_MARKERS = ("v", "P", "X", "*", "<", ">", "p", "h", "d")


def styles_of(labels: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a mark for each label; up to 54 labels differ."""
    styles, count = {}, 0
    for label in labels:
        if label in KNOWN_STYLES:
            styles[label] = KNOWN_STYLES[label]
            continue
        # Colours change with every step and marks too, so that neighbours differ in both.
        place = count % (len(_COLORS) * len(_MARKERS))
        mark = (place + place // math.lcm(len(_COLORS), len(_MARKERS))) % len(_MARKERS)
        styles[label] = (_COLORS[place % len(_COLORS)], _MARKERS[mark])
        count += 1
    return styles


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, which needs no display.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            "Pictures need matplotlib: expected the extra 'plot', got none. Run: pip install 'agwm[plot]'"
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def grid_of_axes(
    count: int, columns: int, width: float, height: float, share_y: bool = False
) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure and its axes, line by line.

    Args:
        count: Number of axes.
        columns: At most so many in a line.
        width: Width of one, in inches.
        height: Height of one, in inches.
        share_y: Give them the same y, shown only at the left.
    """
    columns = min(columns, count)
    lines = math.ceil(count / columns)
    figure = new_figure(width * columns, height * lines)
    axes = list(figure.subplots(lines, columns, squeeze=False, sharey=share_y).flat)
    for axis in axes[count:]:
        figure.delaxes(axis)
    return figure, axes[:count]


def add_legend(figure: Figure, styles: Mapping[str, tuple[str, str]]) -> None:
    """Put one legend for all panels at the right of a figure."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=color, marker=marker, linestyle="", markersize=6, label=label)
        for label, (color, marker) in styles.items()
    ]
    figure.legend(handles=lines, loc="outside right upper", fontsize=8)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Save a figure as PNG, PDF or SVG, by the ending of the path; a $ in a name starts no formula."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    ending = Path(path).suffix.lstrip(".") or "png"
    with rc_context({"text.parse_math": False}):  # for texts that are made while it draws
        for text in figure.findobj(Text):
            text.set_parse_math(False)
        write_whole(path, lambda temporary: figure.savefig(temporary, format=ending, dpi=130))


def set_log_scale(axis: Axes) -> None:
    """Give an axis a logarithmic x with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
