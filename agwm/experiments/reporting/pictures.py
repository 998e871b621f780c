"""Pictures from records: scores per seed, and the learned alpha per layer and matrix."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agwm.errors import DataError
from agwm.evaluation.alpha_grid import alpha_grid as arranged
from agwm.experiments.record import Record
from agwm.experiments.reporting.picture_parts import grid_of_axes, save_figure, styles_of
from agwm.experiments.reporting.runs import labels_of, learns_alpha

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["alpha_grid", "draw_alpha", "draw_scores"]


def draw_scores(runs: Iterable[Record], path: str | Path) -> None:
    """Draw the test score of every run: one strip for each method, with its seeds from top to bottom.

    There is a panel for each task, model and size. Bars are means, shades mean ± standard deviation,
    hollow marks degenerate runs, the dotted line the best constant answer.

    Args:
        runs: The result of :func:`agwm.experiments.reporting.runs.load_runs`.
        path: PNG, PDF or SVG file to write, by its ending.

    Raises:
        DataError: If no record has a score.
        MissingExtraError: If matplotlib is not installed.
    """
    panels: dict[tuple, list[Record]] = {}
    for run in sorted(runs, key=lambda run: (run.model, run.train_size, run.task)):
        panels.setdefault((run.model, run.train_size, run.task), []).append(run)
    panels = {key: own for key, own in panels.items() if any(run.score is not None for run in own)}
    if not panels:
        raise DataError("Nothing to draw: expected records with a score, got none. Run something first.")
    labels = labels_of(run for own in panels.values() for run in own)
    height = 1.6 + 0.3 * len(labels)
    figure, axes = grid_of_axes(len(panels), 3, 4.6, height, share_y=True)
    for axis, (key, own) in zip(axes, panels.items(), strict=True):
        _draw_strips(axis, key, own, labels)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    save_figure(figure, path)


def alpha_grid(runs: Iterable[Record]) -> tuple[list[str], list[str], list[list[float]]]:
    """Arrange the mean of 1 - alpha by layer and kind of matrix, averaged over records.

    Args:
        runs: Runs of one model. Runs that learned no alpha are passed over.

    Returns:
        Names of the rows (layers), names of the columns (kinds), and the values row by row; NaN
        where a layer has no such matrix.

    Raises:
        DataError: If no record has a learned alpha.
    """
    layers, kinds, values = arranged(run.train_info.alpha for run in filter(learns_alpha, runs))
    if not layers:
        raise DataError(
            "No alpha to draw: expected a record of method agwm that learns it, got none. Run it first."
        )
    return layers, kinds, [[math.nan if value is None else value for value in line] for line in values]


def draw_alpha(runs: Iterable[Record], path: str | Path) -> None:
    """Draw how far alpha was moved from 1 towards the pretrained weights, per layer and matrix.

    There is a panel for each method that learned it, task, model and size, in one scale of colours.

    Args:
        runs: The result of :func:`agwm.experiments.reporting.runs.load_runs`.
        path: PNG, PDF or SVG file to write, by its ending.

    Raises:
        DataError: If no record has a learned alpha.
        MissingExtraError: If matplotlib is not installed.
    """
    learned = [run for run in runs if learns_alpha(run)]
    labels = labels_of(learned)
    panels: dict[tuple, list[Record]] = {}
    for run in sorted(learned, key=lambda r: (r.model, r.train_size, labels.index(r.label), r.task)):
        panels.setdefault((run.label, run.task, run.model, run.train_size), []).append(run)
    grids = {key: alpha_grid(own) for key, own in panels.items()} or {(): alpha_grid([])}
    width = 1.6 + 0.55 * max(len(kinds) for _, kinds, _ in grids.values())
    height = 2.3 + 0.28 * max(len(layers) for layers, _, _ in grids.values())
    figure, axes = grid_of_axes(len(grids), 3, width, height)
    flat = [1000 * value for *_, lines in grids.values() for line in lines for value in line]
    known = [value for value in flat if not math.isnan(value)]
    for axis, (key, grid) in zip(axes, grids.items(), strict=True):
        image = _draw_grid(axis, key, grid, len(panels[key]), (min(known), max(known)))
    figure.colorbar(image, ax=list(axes), label="mean of 1 − α, in thousandths", aspect=30)
    figure.suptitle(
        # two lines: one is wider than a picture of a single panel
        "Learned α. 0: task weights alone;\nthe larger, the more of the pretrained weights",
        fontsize=10,
    )
    save_figure(figure, path)


def _draw_strips(axis: Axes, key: tuple, runs: Sequence[Record], labels: Sequence[str]) -> None:
    model, size, task = key
    seeds = sorted({run.seed for run in runs})
    ends: list[float] = []
    for row, (label, (color, marker)) in enumerate(styles_of(labels).items()):
        own = [run for run in runs if run.label == label]
        done = [(run, 100 * run.score) for run in own if run.score is not None]
        axis.axhspan(row - 0.5, row + 0.5, color="0.5", alpha=0.06 if row % 2 else 0, linewidth=0)
        for run, score in done:
            # Every seed has its own height in each strip, so that it can be followed down the page.
            shift = 0.6 * ((seeds.index(run.seed) + 0.5) / len(seeds) - 0.5)
            fill = "none" if run.scores.is_degenerate else color
            axis.plot(score, row + shift, marker, color=color, markerfacecolor=fill, markersize=5)
        if done:
            scores = [score for _, score in done]
            mean, std = statistics.fmean(scores), statistics.pstdev(scores)
            ends += [*scores, mean - std, mean + std]
            axis.barh(row, 2 * std, 0.8, mean - std, color=color, alpha=0.18)
            axis.plot([mean, mean], [row - 0.4, row + 0.4], color=color, linewidth=1.6)
        if len(done) < len(own):
            note = f"{len(own) - len(done)} failed"
            beside = ("axes fraction", "data")
            axis.annotate(
                note, (1.01, row), xycoords=beside, va="center", fontsize=7, annotation_clip=False
            )
    low, high = min(ends), max(ends)
    margin = 0.05 * (high - low) or 1.0
    constant = next((c for run in runs if (c := run.scores.constant) is not None), None)
    # A line far away would squeeze the scores together.
    if constant is not None and low - 5 * margin <= 100 * constant <= high + margin:
        axis.axvline(100 * constant, color="0.3", linestyle=":", linewidth=1)
        low = min(low, 100 * constant)
    axis.set_xlim(low - margin, high + margin)
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set_xlabel(f"test {max(run.scores.metric for run in runs)} × 100", fontsize=9)
    axis.set_title(f"{task}, {model}, n = {size}, {len(seeds)} seed{'s' * (len(seeds) > 1)}", fontsize=10)
    axis.grid(axis="x", alpha=0.3)


def _draw_grid(axis: Axes, key: tuple, grid: tuple, num_seeds: int, limits: tuple[float, float]) -> Any:
    label, task, model, size = key
    layers, kinds, values = grid
    image = axis.imshow(
        [[1000 * v for v in line] for line in values],
        cmap="viridis",
        aspect="auto",
        vmin=limits[0],
        vmax=limits[1],
    )
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            if not math.isnan(value):
                color = "white" if 1000 * value < sum(limits) / 2 else "black"
                axis.text(x, y, f"{1000 * value:.1f}", ha="center", va="center", color=color, fontsize=7)
    axis.set_xticks(range(len(kinds)), kinds, rotation=35, ha="right", fontsize=8)
    axis.set_yticks(range(len(layers)), layers, fontsize=8)
    seeds = f"{num_seeds} seed{'s' * (num_seeds > 1)}"
    axis.set_title(f"{label}: {task}, {model}, n = {size}\nmean of {seeds}", fontsize=9)
    return image
