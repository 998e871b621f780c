"""Pictures that compare methods: cost against score, and how far alpha moved against what it brought."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agwm.errors import DataError
from agwm.reporting.comparisons import control_of
from agwm.reporting.picture_parts import add_legend, grid_of_axes, save_figure, styles_of
from agwm.reporting.pictures import LEARNED
from agwm.reporting.runs import StoredRun, labels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AlphaEffect", "alpha_effects", "draw_alpha_effects", "draw_cost", "start_of_alpha"]

_COSTS = (("passes", "forward and backward passes"), ("seconds", "time of training in s"))
# What a record may hold of each weight beside mean, min and max: mean of |alpha - alpha at the start|.
FROM_START = "from_start"


@dataclass(frozen=True)
class AlphaEffect:
    """What alpha did in one run, beside the control of the same seed.

    Attributes:
        run: The run that learned alpha.
        control: Label of the control; None: there is none, or it failed on this seed.
        moved: Mean of 1 - alpha over the mixed matrices.
        lowest: Smallest entry of any alpha.
        from_start: Mean distance of alpha from its start; None: not in the record.
        difference: Score minus that of the control; None without one.
    """

    run: StoredRun
    control: str | None
    moved: float
    lowest: float
    from_start: float | None
    difference: float | None


def alpha_effects(runs: Sequence[StoredRun]) -> list[AlphaEffect]:
    """Pair every run that learned alpha with its control, by task and seed; only agwm has one.

    Args:
        runs: Of one model and size.
    """
    scores = {(run.label, run.task, run.seed): run.score for run in runs}
    agwm = labels_of(run for run in runs if run.method == "agwm")
    controls = {label: control_of(runs, label) for label in agwm}
    found = []
    for run in runs:
        if run.method not in LEARNED or not run.alpha:
            continue
        other = scores.get((controls.get(run.label), run.task, run.seed))
        numbers = list(run.alpha.values())
        starts = [one[FROM_START] for one in numbers if FROM_START in one]
        found.append(
            AlphaEffect(
                run=run,
                control=None if other is None else controls[run.label],
                moved=statistics.fmean(1.0 - one["mean"] for one in numbers),
                lowest=min(one["min"] for one in numbers),
                from_start=statistics.fmean(starts) if len(starts) == len(numbers) else None,
                difference=None if other is None or run.score is None else run.score - other,
            )
        )
    return found


def start_of_alpha(run: StoredRun) -> float | None:
    r"""Return the mean of 1 - alpha that is to be expected before training, from a run's settings.

    A factor is drawn from :math:`N(1, \sigma)` and cut at 1, so its mean is
    :math:`1 - \sigma/\sqrt{2\pi}`; alpha has two of them in the form ``rank1``, else one.

    Returns:
        The number, or None where the settings are not in the record.
    """
    mixing = run.settings.get("mixing", {})
    if "init_std" not in mixing or "alpha" not in mixing:
        return None
    factor = 1.0 - mixing["init_std"] / math.sqrt(2 * math.pi)
    return 1.0 - factor ** (2 if mixing["alpha"] == "rank1" else 1)


def draw_cost(runs: Sequence[StoredRun], path: str | Path) -> None:
    """Draw mean score against mean cost of every method: passes on the left, time on the right.

    Args:
        runs: Of one model and size; a line of panels a task.
        path: PNG, PDF or SVG file to write, by its ending.

    Raises:
        DataError: If no run has a score.
        MissingExtraError: If matplotlib is not installed.
    """
    done = [run for run in runs if run.score is not None]
    if not done:
        raise DataError("Nothing to draw: expected records with a score, got none. Run something first.")
    tasks, labels = sorted({run.task for run in done}), labels_of(done)
    styles = styles_of(labels)
    height = max(3.2, (0.8 + 0.21 * len(labels)) / len(tasks))
    figure, axes = grid_of_axes(2 * len(tasks), 2, 4.8, height)
    for place, axis in enumerate(axes):
        attribute, name = _COSTS[place % 2]
        task = tasks[place // 2]
        on_task = [run for run in done if run.task == task]
        _draw_costs(axis, on_task, attribute, styles)
        axis.set_xlabel(name, fontsize=9)
        axis.set_ylabel(f"test {on_task[0].metric} × 100", fontsize=9)
        axis.set_title(f"{task}, {done[0].model}, n = {done[0].train_size}", fontsize=10)
    add_legend(figure, styles)
    save_figure(figure, path)


def draw_alpha_effects(runs: Sequence[StoredRun], path: str | Path) -> None:
    """Draw how far alpha moved against the difference to the control of the same seed.

    A mark is one seed; dotted: where alpha starts. A second line of panels shows the distance from the
    start, where the records have it.

    Args:
        runs: Of one model and size; a panel a task.
        path: PNG, PDF or SVG file to write, by its ending.

    Raises:
        DataError: If no run that learned alpha has a control of the same seed.
        MissingExtraError: If matplotlib is not installed.
    """
    effects = [one for one in alpha_effects(runs) if one.difference is not None]
    if not effects:
        raise DataError(
            "Nothing to draw: expected seeds of agwm and of frozen on one task, got none. Run both methods."
        )
    tasks, labels = sorted({one.run.task for one in effects}), labels_of(one.run for one in effects)
    has_starts = any(one.from_start is not None for one in effects)
    styles = styles_of(labels)
    panels = [(task, kind) for task in tasks for kind in ("moved", "from_start")[: 1 + has_starts]]
    figure, axes = grid_of_axes(len(panels), 2 if has_starts else 3, 4.2, 3.4)
    for axis, (task, kind) in zip(axes, panels, strict=True):
        own = [one for one in effects if one.run.task == task and getattr(one, kind) is not None]
        for label, (color, marker) in styles.items():
            dots = [one for one in own if one.run.label == label]
            x = [getattr(one, kind) for one in dots]
            axis.plot(
                x, [100 * one.difference for one in dots], marker, color=color, markersize=6, alpha=0.8
            )
        axis.axhline(0, color="0.3", linewidth=1)
        if kind == "moved":
            for start in sorted({s for one in own if (s := start_of_alpha(one.run)) is not None}):
                axis.axvline(start, color="0.3", linestyle=":", linewidth=1)
        axis.set_xlabel(
            "mean of 1 − α" if kind == "moved" else "mean distance of α from its start", fontsize=9
        )
        axis.set_ylabel("score − that of the control, × 100", fontsize=9)
        axis.set_title(
            f"{task}, {own[0].run.model}, n = {own[0].run.train_size}" if own else task, fontsize=10
        )
        axis.locator_params(axis="x", nbins=5)
        axis.grid(alpha=0.3)
    add_legend(figure, styles)
    save_figure(figure, path)


def _draw_costs(
    axis: Axes, runs: Sequence[StoredRun], attribute: str, styles: dict[str, tuple[str, str]]
) -> None:
    for label, (color, marker) in styles.items():
        own = [run for run in runs if run.label == label]
        if own:
            scores = [100 * run.score for run in own]
            cost = statistics.fmean(getattr(run, attribute) for run in own)
            mean, std = statistics.fmean(scores), statistics.pstdev(scores)
            axis.errorbar(cost, mean, std, fmt=marker, color=color, markersize=6, linewidth=1, alpha=0.8)
    costs = [getattr(run, attribute) for run in runs]
    if min(costs) > 0:
        _set_log_scale(axis)
    axis.grid(alpha=0.3)


def _set_log_scale(axis: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
