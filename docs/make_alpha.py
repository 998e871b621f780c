"""Write the tables and pictures of ``docs/alpha.md`` from the records below ``docs/results/alpha``.

Run from the root of the repository: ``python -m docs.make_alpha``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from agwm.experiments.record import Record
from agwm.experiments.reporting.picture_parts import new_figure, save_figure
from agwm.experiments.reporting.runs import load_runs
from agwm.files import read_json, write_text
from agwm.markdown import put_between, table
from docs.make_outer_data import draw_panels, interval

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "alpha.md", ROOT / "docs" / "results" / "alpha"
FOLDERS = (RESULTS, ROOT / "docs" / "results" / "alpha_mpnet")
FIT = ROOT / "docs" / "results" / "fit" / "calibration"
BENCH = ROOT / "docs" / "bench" / "search_step.json"
DIFFERENCES, COST = "differences.png", "cost.png"
OWN = ("agwm", "agwm_same_rates")  # tuned by itself; with the rate and epochs of as_drawn
LEAST = 5  # standard errors by which tuned vanilla has to beat the constant answer
POWER = 0.8
# Rows of the bench's table of time, by what they are called here.
SCHEMES = {
    "vanilla step": "vanilla step",
    "agwm, first order": "first order",
    "agwm, explicit scheme": "explicit",
    "agwm, forward scheme": "forward",
    "agwm, central scheme": "central",
}
Scores = dict[str, np.ndarray]


def by_task(folders: Sequence[Path] = FOLDERS) -> dict[str, list[Record]]:
    """Return task and model -> the runs."""
    found: dict[str, list[Record]] = {}
    for run in load_runs(folders):
        found.setdefault(f"{run.task}, {run.model}", []).append(run)
    return found


def scores(runs: Sequence[Record]) -> Scores:
    """Return label -> test scores times 100, seed by seed; labels that lack a seed are left out."""
    seeds = sorted({run.seed for run in runs})
    found: dict[str, dict[int, float]] = {}
    for run in runs:
        if run.scores.test is not None:
            found.setdefault(run.label, {})[run.seed] = 100 * run.scores.test
    return {
        label: np.array([one[seed] for seed in seeds])
        for label, one in found.items()
        if len(one) == len(seeds)
    }


def beats_constant(runs: Sequence[Record]) -> tuple[float, float]:
    """Return how far tuned vanilla is above the constant answer: in points, and in standard errors."""
    ended = [run.scores for run in runs if run.label == "vanilla" and run.scores.test is not None]
    gains = np.array([100 * (one.test - one.constant) for one in ended])
    return float(gains.mean()), float(gains.mean() / stats.sem(gains))


def seeds_to_see(spread: float, points: float = 1.0) -> int:
    """Return how many seeds a paired test at 5 % needs to see a difference with a power of 0.8.

    Args:
        spread: Standard deviation of the paired difference, in points.
        points: The difference.
    """
    reach = stats.norm.ppf(0.975) + stats.norm.ppf(POWER)
    return math.ceil((reach * spread / points) ** 2)


def task_section(task: str, runs: Sequence[Record]) -> str:
    """Return the table of a task, and what it can show."""
    by_label = scores(runs)
    own = [label for label in OWN if label in by_label]
    heads = ["", "settings chosen", "passes", "test score", *(f"{label} minus it" for label in own)]
    rows = []
    for label, values in sorted(by_label.items(), key=lambda one: -one[1].mean()):
        first = next(run for run in runs if run.label == label)
        differences = ["" if label == name else interval(by_label[name] - values) for name in own]
        rows.append(
            [
                label,
                chosen(first),
                f"{np.mean([run.train_info.passes for run in runs if run.label == label]):.0f}",
                f"{values.mean():.1f} ± {values.std(ddof=1):.1f}",
                *differences,
            ]
        )
    gain, errors = beats_constant(runs)
    metric, count = runs[0].scores.name, len(next(iter(by_label.values())))
    spread = float((by_label[own[-1]] - by_label["as_drawn"]).std(ddof=1))
    hours = sum(run.train_info.total_seconds for run in runs) / 3600
    devices = " and ".join(sorted({run.run_info.device for run in runs}))
    return (
        f"### {task}\n\n{table(heads, rows, right=(2,))}\nTest {metric} times 100, mean and standard"
        f" deviation of {count} seeds; differences are paired by seed, with the 95 % interval of Student's"
        f" t. Tuned vanilla is {gain:.1f} points, {errors:.0f} standard errors, above the constant."
        f" The paired difference of {own[-1]} to `as_drawn` has a standard deviation of {spread:.1f}"
        f" points: {seeds_to_see(spread)} seeds would see one point with a power of {POWER:g}. {len(runs)}"
        f" runs, {hours:.1f} hours in all, on {devices}.\n"
    )


def chosen(run: Record) -> str:
    """Return the rate and epochs of W that were chosen, and the rate of alpha where one is learned."""
    own = run.settings.get("rivals", {}).get(run.method)
    sections = (own, *map(run.settings.get, ("vanilla", "search")))
    given: list[Mapping[str, Any]] = [section for section in sections if section]
    rate, epochs = (
        next((section[name] for section in given if section.get(name) is not None), None)
        for name in ("learning_rate", "epochs")
    )
    if rate is None:
        return ""
    text = f"{rate:g}, {epochs} epochs"
    if run.method != "agwm":
        return text
    return f"{text}, alpha {run.settings['search']['attention_learning_rate']:g}"


def entering(every: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    """Return the tasks on which tuned vanilla is far enough above the constant answer."""
    return {task: runs for task, runs in every.items() if beats_constant(runs)[1] >= LEAST}


def section(folders: Sequence[Path] = FOLDERS) -> str:
    """Return what stands between the marks of the page."""
    every = by_task(folders)
    entered = entering(every)
    parts = [task_section(task, runs) for task, runs in entered.items()]
    for task in every.keys() - entered.keys():
        parts.append(
            f"{task} is left out: tuned vanilla is not {LEAST} standard errors above the constant.\n"
        )
    return "\n".join(parts)


def fit_section(folder: Path = FIT) -> str:
    """Return what candidates of ``agwm fit`` scored on new rows, draw by draw, and agwm beside them."""
    draws = [read_json(path)["new"] for path in sorted(folder.glob("*.json"))]
    rows = []
    for label in draws[0]:
        cells = [label]
        for part in ("validation", "others"):
            own, values = (np.array([100 * one[m][part] for one in draws]) for m in ("agwm", label))
            difference_ = "" if label == "agwm" else interval(own - values)
            cells += [f"{values.mean():.1f} ± {values.std(ddof=1):.1f}", difference_]
        rows.append(cells)
    heads = ["", "validation file", "agwm minus it", "1,000 other rows", "agwm minus it"]
    return (
        f"### agwm fit\n\n{table(heads, rows)}\nAccuracy times 100 of the candidates of `agwm fit` on rows"
        " that they have not seen, settings chosen inside of each training part;"
        f" {len(draws)} draws of 300 rows of SST-2 ([how](fit.md)).\n"
    )


def page(folders: Sequence[Path] = FOLDERS) -> str:
    """Return the page with its section made anew."""
    text = f"{section(folders)}\n{fit_section()}"
    return put_between(PAGE.read_text(encoding="utf-8"), "results", text)


def draw_cost(path: Path, bench: Path = BENCH) -> None:
    """Draw what an iteration of a search costs by scheme, in steps of vanilla."""
    rows = {row["name"]: row["ratio"] for row in read_json(bench)["parts"]["time"]}
    figure = new_figure(6.4, 2.4)
    axis = figure.subplots()
    for place, name in enumerate(SCHEMES):
        ratio = rows[name]
        axis.barh(place, ratio["median"], color="#0072B2" if place == 0 else "#D55E00", alpha=0.8)
        axis.plot([ratio["q1"], ratio["q3"]], [place] * 2, color="black", linewidth=1.2)
        axis.text(ratio["q3"] + 0.05, place, f"{ratio['median']:.2f}", va="center", fontsize=8)
    axis.set_yticks(range(len(SCHEMES)), list(SCHEMES.values()))
    axis.invert_yaxis()
    axis.margins(x=0.1)
    axis.set_xlabel("time of an iteration, in vanilla steps (CPU)")
    axis.grid(axis="x", alpha=0.3)
    save_figure(figure, path)


if __name__ == "__main__":
    write_text(PAGE, page())
    found = entering(by_task())
    panels = {task: scores(runs) for task, runs in found.items()}
    owns = [label for label in OWN if all(label in one for one in panels.values())]
    draw_panels(panels, owns, RESULTS / DIFFERENCES)
    draw_cost(RESULTS / COST)
