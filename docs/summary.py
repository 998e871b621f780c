"""A few rows of results for the README, from the records of ``docs/results``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agwm.markdown import table
from docs import make_alpha, make_outer_data

__all__ = ["summary"]

_EXAMPLES = {
    "continual": "a new task, with {outer} examples that hold the old one too",
    "noisy_labels": "three in ten labels wrong, {outer} examples with the right ones",
    "domain_shift": "reviews of products, {outer} examples of the films that it is tested on",
}


def summary(results: Path) -> str:
    """Return a row for each experiment: agwm beside plain finetuning and its best control.

    Args:
        results: The folder of all records.
    """
    rows = []
    if (results / "alpha").is_dir():
        for task, runs in make_alpha.entering(make_alpha.by_task([results / "alpha"])).items():
            what = f"one distribution, {runs[0].run_info.train_size} examples: {task}"
            by_label = make_alpha.scores(runs)
            own = next(label for label in make_alpha.OWN if label in by_label)
            rows.append(_row(what, by_label, "vanilla", own))
    for name, runs in make_outer_data.found(results / "outer_data").items():
        what = _EXAMPLES[name].format(outer=runs[0]["outer"])
        rows.append(_row(what, make_outer_data.compared(runs), "plain", make_outer_data.OWN[-1]))
    heads = ["ten draws of each", "plain finetuning", "best control", "agwm", "agwm minus it [95 %]"]
    return f"{table(heads, rows)}\n" if rows else "No experiment has been made.\n"


def _row(what: str, scores: Mapping[str, Any], plain: str, own: str) -> list[str]:
    controls = [name for name in scores if not name.startswith("agwm")]
    best = max(controls, key=lambda name: scores[name].mean())
    return [
        what,
        f"{scores[plain].mean():.1f}",
        f"{scores[best].mean():.1f} (`{best}`)",
        f"{scores[own].mean():.1f}",
        make_outer_data.interval(scores[own] - scores[best]),
    ]
