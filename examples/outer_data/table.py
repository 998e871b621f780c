"""The table of a comparison: means, and paired differences of agwm to each control."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import stats

from agwm.markdown import table as markdown_table
from outer_data.methods import METHODS

OWN = ("agwm_scalar", "agwm_rank1")
LEARNED = ("after_rank1", *OWN)  # what has a column of differences to all others


def by_method(records: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return method -> its runs that have test scores, seed by seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in sorted((one for one in records if "test" in one), key=lambda one: one["seed"]):
        found.setdefault(record["method"], []).append(record)
    return {name: found[name] for name in METHODS if name in found}


def scores(records: dict[str, list[dict[str, Any]]]) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the names of the test scores, and method -> seeds x scores; several have their mean last."""
    names = list(next(iter(records.values()))[0]["test"])
    found = {
        method: np.array([[run["test"][name] for name in names] for run in runs])
        for method, runs in records.items()
    }
    if len(names) > 1:
        names = [*names, "mean"]
        found = {m: np.column_stack([one, one.mean(axis=1)]) for m, one in found.items()}
    return names, found


def difference(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of paired differences, and the ends of the 95 % interval of Student's t."""
    if not values.std():
        return (float(values.mean()),) * 3
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return float(values.mean()), float(low), float(high)


def table(records: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table as Markdown.

    Args:
        records: Method -> its runs, seed by seed.
    """
    names, by_name = scores(records)
    own = [name for name in LEARNED if name in by_name]
    heads = ["", "rate", "rate of alpha", *names, *(f"{name} minus it" for name in own)]
    rows = []
    for method, found in by_name.items():
        settings = records[method][0]["settings"]
        has_alpha = method.startswith(("agwm", "after"))
        rows.append(
            [
                method,
                f"{settings['learning_rate']:g}",
                f"{settings['attention_learning_rate']:g}" if has_alpha else "",
                *(
                    f"{mean:.1f} ± {std:.1f}"
                    for mean, std in zip(found.mean(axis=0), found.std(axis=0, ddof=1), strict=True)
                ),
                *("" if name == method else interval(by_name[name][:, -1] - found[:, -1]) for name in own),
            ]
        )
    seeds = len(next(iter(by_name.values())))
    text = markdown_table(heads, rows)
    return (
        f"{text}\nMean and standard deviation of {seeds} seeds, in percent. Differences are paired seed by"
        f" seed, of {names[-1]}, with the 95 % interval of Student's t.\n"
    )


def interval(values: np.ndarray) -> str:
    """Return the mean of paired differences and its interval, as it stands in a table."""
    mean, low, high = difference(values)
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
