"""Pictures from records: scores per seed, and the learned alpha per layer and matrix."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agwm.errors import DataError, MissingExtraError
from agwm.report import Row, summarize
from agwm.storage import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["alpha_grid", "draw_alpha", "draw_scores"]

Record = Mapping[str, Any]
# Colours that the colour-blind can tell apart (Okabe and Ito), and a mark for each as well.
_STYLES = {
    "vanilla": ("#0072B2", "o"),
    "vanilla_long": ("#56B4E9", "s"),
    "frozen": ("#E69F00", "^"),
    "agwm": ("#D55E00", "D"),
}
_OTHER_STYLES = (("#009E73", "v"), ("#CC79A7", "P"), ("#000000", "X"), ("#F0E442", "*"))
_NO_LAYER = -1


def draw_scores(records: Iterable[Record], path: str | Path) -> None:
    """Draw the test score of every run: seeds along x, one mark a method, dashes at the mean.

    There is a panel for each task, model and size.

    Args:
        records: What :func:`agwm.records.load_records` gives.
        path: PNG, PDF or SVG file to write, by its ending.

    Raises:
        DataError: If no record has a score.
        MissingExtraError: If matplotlib is not installed.
    """
    panels: dict[tuple, list[Row]] = {}
    for row in summarize(records):
        if row.scores:
            panels.setdefault((row.task, row.model, row.train_size, row.metric), []).append(row)
    if not panels:
        raise DataError("Nothing to draw: expected records with a score, got none. Run something first.")
    columns = min(len(panels), 2)
    lines = math.ceil(len(panels) / columns)
    figure = _new_figure(6.4 * columns, 4.4 * lines)
    axes = figure.subplots(lines, columns, squeeze=False).flat
    for axis, (key, rows) in zip(axes, panels.items(), strict=False):
        _draw_panel(axis, key, rows)
    for axis in list(axes)[len(panels) :]:
        axis.set_visible(False)
    _save(figure, path)


def alpha_grid(records: Iterable[Record]) -> tuple[list[str], list[str], list[list[float]]]:
    """Arrange the mean of 1 - alpha by layer and kind of matrix, averaged over records.

    Args:
        records: Runs of one model; those that learned no alpha are passed over.

    Returns:
        Names of the rows (layers), names of the columns (kinds), and the values row by row; NaN
        where a layer has no such matrix.

    Raises:
        DataError: If no record has a learned alpha.
    """
    cells: dict[tuple[int, str], list[float]] = {}
    kinds: dict[str, None] = {}
    for record in records:
        if record["run_info"]["method"] == "frozen":
            continue
        for name, numbers in record["train_info"]["alpha"].items():
            layer, kind = _place(name)
            kinds[kind] = None
            cells.setdefault((layer, kind), []).append(1.0 - numbers["mean"])
    if not cells:
        raise DataError("No alpha to draw: expected a record of method agwm, got none. Run it first.")
    layers = sorted({layer for layer, _ in cells}, key=lambda layer: (layer == _NO_LAYER, layer))
    values = [
        [
            statistics.fmean(cells[place]) if (place := (layer, kind)) in cells else math.nan
            for kind in kinds
        ]
        for layer in layers
    ]
    names = ["no layer" if layer == _NO_LAYER else f"layer {layer}" for layer in layers]
    return names, list(kinds), values


def draw_alpha(records: Iterable[Record], path: str | Path) -> None:
    """Draw how far alpha was moved from 1 towards the pretrained weights, per layer and matrix.

    Args:
        records: Runs of one task, model and size.
        path: PNG, PDF or SVG file to write, by its ending.

    Raises:
        DataError: If no record has a learned alpha.
        MissingExtraError: If matplotlib is not installed.
    """
    learned = [r for r in records if r["train_info"]["alpha"] and r["run_info"]["method"] != "frozen"]
    layers, kinds, values = alpha_grid(learned)
    info = learned[0]["run_info"]
    figure = _new_figure(2.6 + 1.05 * len(kinds), 2.2 + 0.38 * len(layers))
    axis = figure.subplots()
    image = axis.imshow([[1000 * v for v in line] for line in values], cmap="viridis", aspect="auto")
    low, high = image.get_clim()
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            if not math.isnan(value):
                color = "white" if 1000 * value < (low + high) / 2 else "black"
                axis.text(x, y, f"{1000 * value:.1f}", ha="center", va="center", color=color, fontsize=8)
    axis.set_xticks(range(len(kinds)), kinds, rotation=30, ha="right")
    axis.set_yticks(range(len(layers)), layers)
    axis.set_xlabel("mixed matrix")
    seeds = f"{len(learned)} seed{'s' if len(learned) > 1 else ''}"
    axis.set_title(
        f"Learned α: {info['task']}, {info['model']}, n = {info['train_size']}, mean of {seeds}\n"
        "0: task weights alone; the larger, the more of the pretrained weights",
        fontsize=10,
    )
    figure.colorbar(image, label="mean of 1 − α, in thousandths")
    _save(figure, path)


def _place(name: str) -> tuple[int, str]:
    """Split a weight's name into its layer (the first number in it) and the kind of matrix."""
    parts = name.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    kind = [part for part in (parts if number is None else parts[number + 1 :]) if part != "weight"]
    if number is None:
        return _NO_LAYER, ".".join(kind[-2:])
    return int(parts[number]), ".".join(kind)


def _draw_panel(axis: Axes, key: tuple, rows: Sequence[Row]) -> None:
    task, model, size, metric = key
    seeds = sorted({seed for row in rows for seed in row.seeds})
    others = iter(_OTHER_STYLES * len(rows))
    for index, row in enumerate(rows):
        color, marker = _STYLES.get(row.method) or next(others)
        # Side by side, so that equal scores do not hide one another.
        shift = 0.12 * (index - (len(rows) - 1) / 2)
        places = [seeds.index(seed) + shift for seed in row.seeds]
        scores = [100 * score for score in row.scores]
        label = f"{row.method}: {100 * row.mean:.1f} ± {100 * row.std:.1f}"
        axis.plot(places, scores, marker, color=color, label=label, markersize=7)
        axis.axhline(100 * row.mean, color=color, linestyle="--", linewidth=1, alpha=0.7)
    axis.set_xticks(range(len(seeds)), [str(seed) for seed in seeds], rotation=30 if len(seeds) > 5 else 0)
    axis.set_xlim(-0.5, len(seeds) - 0.5)
    axis.set_xlabel("seed")
    axis.set_ylabel(f"test {metric} × 100")
    axis.set_title(f"{task}, {model}, n = {size}", fontsize=11)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(title="mean ± std (dashes: mean)", loc="upper left", bbox_to_anchor=(1.01, 1.0))


def _new_figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            "Pictures need matplotlib: expected the extra 'plot', got none. Run: pip install 'agwm[plot]'"
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: str | Path) -> None:
    ending = Path(path).suffix.lstrip(".") or "png"
    write_whole(path, lambda temporary: figure.savefig(temporary, format=ending, dpi=150))
