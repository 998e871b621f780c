"""The table of a comparison: means, and paired differences of agwm to each control."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from agwm.markdown import table as markdown_table

OWN = ("agwm_scalar", "agwm_rank1")


def table(records: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table as Markdown.

    Args:
        records: Method -> its runs, seed by seed.
    """
    names = list(next(iter(records.values()))[0]["test"])
    scores = {
        method: np.array([[run["test"][name] for name in names] for run in runs])
        for method, runs in records.items()
    }
    if len(names) > 1:
        names = [*names, "mean"]
        scores = {m: np.column_stack([found, found.mean(axis=1)]) for m, found in scores.items()}
    own = [name for name in OWN if name in scores]
    heads = ["", "rate", "rate of alpha", "seconds", *names, *(f"{name} minus it" for name in own)]
    rows = []
    for method, found in scores.items():
        settings = records[method][0]["settings"]
        has_alpha = method.startswith(("agwm", "after"))
        rows.append(
            [
                method,
                f"{settings['learning_rate']:g}",
                f"{settings['attention_learning_rate']:g}" if has_alpha else "",
                f"{np.mean([run['seconds'] for run in records[method]]):.0f}",
                *(
                    f"{mean:.1f} ± {std:.1f}"
                    for mean, std in zip(found.mean(axis=0), found.std(axis=0, ddof=1), strict=True)
                ),
                *(
                    "" if name == method else _difference(scores[name][:, -1] - found[:, -1])
                    for name in own
                ),
            ]
        )
    seeds = len(next(iter(scores.values())))
    text = markdown_table(heads, rows)
    return (
        f"{text}\nMean and standard deviation of {seeds} seeds, in percent. Differences are paired seed by"
        f" seed, of {names[-1]}, with the 95 % interval of Student's t.\n"
    )


def _difference(values: np.ndarray) -> str:
    if not values.std():
        return f"{values.mean():+.1f}"
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return f"{values.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
