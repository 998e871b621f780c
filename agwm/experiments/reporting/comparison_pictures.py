"""Draw cost against score, and the movement of alpha against the difference in score."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agwm.errors import DataError
from agwm.experiments.record import Record
from agwm.experiments.reporting.alpha_effects import AlphaEffect, alpha_effects, start_of_alpha
from agwm.experiments.reporting.lanes import MANY, Column, Lanes, draw_lanes
from agwm.experiments.reporting.picture_parts import (
    add_legend,
    grid_of_axes,
    save_figure,
    set_log_scale,
    styles_of,
)
from agwm.experiments.reporting.runs import labels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_alpha_effects", "draw_cost"]

_COSTS = (("passes", "forward and backward passes"), ("total_seconds", "time of training in s"))


def draw_cost(runs: Sequence[Record], path: str | Path) -> None:
    """Draw mean score against mean cost of every method: passes on the left, time on the right.

    More than twelve methods have a lane each, the best on top, with score, passes and time side by side.

    Args:
        runs: Runs of one model and size; each task has a line of panels.
        path: PNG, PDF or SVG file to write, by its ending.

    Raises:
        DataError: If no run has a score.
        MissingExtraError: If matplotlib is not installed.
    """
    done = [run for run in runs if run.score is not None]
    if not done:
        raise DataError("Nothing to draw: expected records with a score, got none. Run something first.")
    tasks, labels = sorted({run.task for run in done}), labels_of(done)
    if len(labels) > MANY:
        draw_lanes([_cost_lanes([run for run in done if run.task == task]) for task in tasks], path)
        return
    styles = styles_of(labels)
    height = max(3.2, (0.8 + 0.21 * len(labels)) / len(tasks))
    figure, axes = grid_of_axes(2 * len(tasks), 2, 4.8, height)
    for place, axis in enumerate(axes):
        attribute, name = _COSTS[place % 2]
        task = tasks[place // 2]
        on_task = [run for run in done if run.task == task]
        _draw_costs(axis, on_task, attribute, styles)
        axis.set_xlabel(name, fontsize=9)
        axis.set_ylabel(f"test {on_task[0].scores.metric} × 100", fontsize=9)
        axis.set_title(f"{task}, {done[0].model}, n = {done[0].train_size}", fontsize=10)
    add_legend(figure, styles)
    save_figure(figure, path)


def draw_alpha_effects(runs: Sequence[Record], path: str | Path) -> None:
    """Draw the gain over a control with the same seed against the movement of alpha.

    The control is agwm with alpha as it is drawn where there is one, else alpha held at 1. A mark is one
    seed; dotted: where alpha starts. A second line of panels shows the distance from the start, where the
    records have it. More than twelve methods have a lane each, with the gain and the movement side by side.

    Args:
        runs: Runs of one model and size; each task has a panel.
        path: PNG, PDF or SVG file to write, by its ending.

    Raises:
        DataError: If no run that learned alpha has a control of the same seed.
        MissingExtraError: If matplotlib is not installed.
    """
    effects = [one for one in alpha_effects(runs) if one.difference is not None]
    if not effects:
        raise DataError(
            "Nothing to draw: expected seeds of agwm and of a control on one task, got none. Run frozen, or"
            " agwm with search.attention_learning_rate=0."
        )
    tasks, labels = sorted({one.run.task for one in effects}), labels_of(one.run for one in effects)
    controls = {one.run.label: one.reference for one in effects}
    has_starts = any(one.from_start is not None for one in effects)
    if len(labels) > MANY:
        groups = [[one for one in effects if one.run.task == task] for task in tasks]
        draw_lanes([_effect_lanes(own, has_starts) for own in groups], path)
        return
    styles = styles_of(labels)
    panels = [(task, kind) for task in tasks for kind in ("moved", "from_start")[: 1 + has_starts]]
    figure, axes = grid_of_axes(len(panels), 2 if has_starts else 3, 4.2, 3.4)
    for axis, (task, kind) in zip(axes, panels, strict=True):
        own = [one for one in effects if one.run.task == task and getattr(one, kind) is not None]
        for label, (color, marker) in styles.items():
            dots = [
                (getattr(one, kind), 100 * one.difference)
                for one in own
                if one.run.label == label and one.difference is not None
            ]
            axis.plot(
                [x for x, _ in dots], [y for _, y in dots], marker, color=color, markersize=6, alpha=0.8
            )
        axis.axhline(0, color="0.3", linewidth=1)
        if kind == "moved":
            for start in sorted({s for one in own if (s := start_of_alpha(one.run)) is not None}):
                axis.axvline(start, color="0.3", linestyle=":", linewidth=1)
        axis.set_xlabel(
            "mean of 1 − α" if kind == "moved" else "mean distance of α from its start", fontsize=9
        )
        axis.set_ylabel("score − that of its control, × 100", fontsize=9)
        axis.set_title(
            f"{task}, {own[0].run.model}, n = {own[0].run.train_size}" if own else task, fontsize=10
        )
        axis.locator_params(axis="x", nbins=5)
        axis.grid(alpha=0.3)
    add_legend(figure, {f"{label} − {controls[label]}": style for label, style in styles.items()})
    save_figure(figure, path)


def _cost_lanes(runs: Sequence[Record]) -> Lanes:
    """Return the lanes of one task, the best mean score on top."""
    scores = _by_label((run.label, 100 * run.score) for run in runs if run.score is not None)
    first = runs[0]
    costs = [
        Column(
            name, _by_label((run.label, float(getattr(run.train_info, key))) for run in runs), is_cost=True
        )
        for key, name in _COSTS
    ]
    columns = [Column(f"test {first.scores.metric} × 100", scores), *costs]
    title = f"{first.task}, {first.model}, n = {first.train_size}"
    return Lanes(title, sorted(scores, key=lambda label: -statistics.fmean(scores[label])), columns)


def _effect_lanes(effects: Sequence[AlphaEffect], has_starts: bool) -> Lanes:
    """Return the lanes of one task, the largest mean gain on top."""
    gains = _by_label(
        (one.run.label, 100 * one.difference) for one in effects if one.difference is not None
    )
    columns = [
        Column("score − that of its control, × 100", gains, has_zero=True),
        Column("mean of 1 − α", _by_label((one.run.label, one.moved) for one in effects)),
    ]
    if has_starts:
        starts = ((one.run.label, one.from_start) for one in effects if one.from_start is not None)
        columns.append(Column("mean distance of α from its start", _by_label(starts)))
    run = effects[0].run
    title = f"{run.task}, {run.model}, n = {run.train_size}"
    names = {one.run.label: f"{one.run.label} − {one.reference}" for one in effects}
    return Lanes(title, sorted(gains, key=lambda label: -statistics.fmean(gains[label])), columns, names)


def _by_label(pairs: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for label, value in pairs:
        found.setdefault(label, []).append(value)
    return found


def _draw_costs(
    axis: Axes, runs: Sequence[Record], attribute: str, styles: dict[str, tuple[str, str]]
) -> None:
    for label, (color, marker) in styles.items():
        own = [run for run in runs if run.label == label]
        if own:
            scores = [100 * run.score for run in own if run.score is not None]
            cost = statistics.fmean(getattr(run.train_info, attribute) for run in own)
            mean, std = statistics.fmean(scores), statistics.pstdev(scores)
            axis.errorbar(cost, mean, std, fmt=marker, color=color, markersize=6, linewidth=1, alpha=0.8)
    costs = [getattr(run.train_info, attribute) for run in runs]
    if min(costs) > 0:
        set_log_scale(axis)
    axis.grid(alpha=0.3)
