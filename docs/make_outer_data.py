"""Write the tables of the examples with outer data into ``docs/outer_data.md``, and their pictures.

Run from the root of the repository: ``python -m docs.make_outer_data``. Each example writes ``runs.json``;
here it stands as ``docs/results/outer_data/NAME.json``. With another number of outer examples the name has
this number: ``NAME_30.json``. What is not there is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D

from agwm.experiments.reporting.picture_parts import new_figure, save_figure, styles_of
from agwm.files import read_json, write_text
from agwm.markdown import put_between
from agwm.markdown import table as markdown_table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))

from outer_data.table import OWN, by_method, difference, interval, scores, table  # noqa: E402  no package

__all__ = ["OWN", "compared", "draw_panels", "found", "interval"]  # for other pages

PAGE, RESULTS = ROOT / "docs" / "outer_data.md", ROOT / "docs" / "results" / "outer_data"
NAMES = ("continual", "noisy_labels", "domain_shift")
DIFFERENCES, NUMBERS = "differences.png", "numbers.png"
_IN_A_ROW = 3  # panels that can be read on a page


def found(folder: Path = RESULTS) -> dict[str, list[dict[str, Any]]]:
    """Return example -> all its runs, for those that were made."""
    return {
        name: read_json(folder / f"{name}.json") for name in NAMES if (folder / f"{name}.json").is_file()
    }


def section(folder: Path = RESULTS) -> str:
    """Return what stands between the marks of the page."""
    parts = []
    for name, runs in found(folder).items():
        hours = sum(run["seconds"] for run in runs) / 3600
        cards = " and ".join(sorted({run["card"] or "a CPU" for run in runs}))
        below = f"{len(runs)} runs, {hours:.1f} hours in all, on {cards}.\n"
        parts.append(f"### {name}\n\n{table(by_method(runs))}\n{below}{numbers_table(name, folder)}")
    return "\n".join(parts) or "Nothing yet: no runs have been made with the settings above.\n"


def page(folder: Path = RESULTS) -> str:
    """Return the page with its section made anew."""
    return put_between(PAGE.read_text(encoding="utf-8"), "results", section(folder))


def draw_differences(every: Mapping[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw, for each example, the paired differences of both forms of agwm to every control."""
    draw_panels({name: compared(runs) for name, runs in every.items()}, OWN, path)


def compared(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return method -> the score that methods are compared by, seed by seed."""
    return {method: one[:, -1] for method, one in scores(by_method(runs))[1].items()}


def draw_panels(panels: Mapping[str, Mapping[str, Any]], owns: Sequence[str], path: Path) -> None:
    """Draw the paired differences of some methods to all others, a panel for each experiment.

    Args:
        panels: Title -> method -> scores, seed by seed.
        owns: The one or two methods whose differences are drawn.
        path: File to write.
    """
    columns = min(len(panels), _IN_A_ROW)
    lines = -(-len(panels) // columns)
    figure = new_figure(4.2 * columns + 0.6, 3.6 * lines)
    every = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
    axes = every[: len(panels)]
    styles = styles_of(owns)
    # one order for all panels, which share an axis: a panel may lack a control
    controls = [name for name in dict.fromkeys(chain(*panels.values())) if name not in owns]
    for axis in every[len(panels) :]:
        axis.remove()
    for axis, (name, by_name) in zip(axes, panels.items(), strict=True):
        for shift, own in zip((-0.12, 0.12), owns, strict=False):
            for place, control in enumerate(controls):
                if control not in by_name:
                    continue
                mean, low, high = difference(by_name[own] - by_name[control])
                color, marker = styles[own]
                axis.plot([low, high], [place + shift] * 2, color=color, linewidth=1.5)
                axis.plot(mean, place + shift, marker, color=color, markersize=6)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(range(len(controls)), controls)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("points above the control")
        axis.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    shown = [Line2D([], [], color=styles[own][0], marker=styles[own][1], label=own) for own in owns]
    axes[-1].legend(handles=shown, fontsize=8)
    save_figure(figure, path)


def numbers(name: str, folder: Path = RESULTS) -> dict[int, dict[str, Any]]:
    """Return number of outer examples -> method -> scores, draw by draw: those that all numbers have."""
    every = [by_method(read_json(path)) for path in sorted(folder.glob(f"{name}*.json"))]
    methods = [method for method in every[0] if all(method in runs for runs in every)]
    seeds = set.intersection(*({run["seed"] for run in runs[methods[0]]} for runs in every))
    found = {}
    for runs in every:
        shared = {method: [run for run in runs[method] if run["seed"] in seeds] for method in methods}
        found[shared[methods[0]][0]["outer"]] = {m: one[:, -1] for m, one in scores(shared)[1].items()}
    return dict(sorted(found.items()))


def numbers_table(name: str, folder: Path = RESULTS) -> str:
    """Return a table for both ways to learn a rank-1 alpha, a row for each number; or nothing."""
    by_number = numbers(name, folder)
    if len(by_number) < 2:
        return ""
    first = next(iter(by_number.values()))
    learned = [method for method in ("agwm_rank1", "after_rank1") if method in first]
    controls = [method for method in first if method not in OWN[:1]]
    rows = [
        [
            own,
            str(number),
            f"{one[own].mean():.1f}",
            *("" if method == own else interval(one[own] - one[method]) for method in controls),
        ]
        for own in learned
        for number, one in by_number.items()
    ]
    heads = ["", "outer examples", "score", *(f"minus {method}" for method in controls)]
    seeds = len(first[learned[0]])
    return f"\nOther numbers of outer examples, draws 1 to {seeds}:\n\n{markdown_table(heads, rows)}"


def draw_numbers(folder: Path, path: Path) -> None:
    """Draw how the scores of the examples depend on the number of outer examples."""
    every = {name: numbers(name, folder) for name in found(folder)}
    every = {name: by_number for name, by_number in every.items() if len(by_number) > 1}
    figure = new_figure(4.2 * len(every) + 1, 3.4)
    axes = figure.subplots(1, len(every), squeeze=False)[0]
    for axis, (name, by_number) in zip(axes, every.items(), strict=True):
        for method, (color, marker) in styles_of(next(iter(by_number.values()))).items():
            means = [one[method].mean() for one in by_number.values()]
            axis.plot(list(by_number), means, marker=marker, color=color, label=method, markersize=5)
        axis.set_xscale("log")
        axis.set_xticks(list(by_number), [str(number) for number in by_number])
        axis.minorticks_off()
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("outer examples")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test score, percent")
    axes[-1].legend(fontsize=7)
    save_figure(figure, path)


if __name__ == "__main__":
    write_text(PAGE, page())
    if every := found():
        draw_differences(every, RESULTS / DIFFERENCES)
    if any(len(numbers(name)) > 1 for name in every):
        draw_numbers(RESULTS, RESULTS / NUMBERS)
