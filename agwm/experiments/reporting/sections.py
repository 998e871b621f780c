"""Sections of the report: tests, effects of alpha, settings and versions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from agwm.experiments.record import Record
from agwm.experiments.refusals import Refusal
from agwm.experiments.reporting.alpha_effects import AlphaEffect, alpha_effects, start_of_alpha
from agwm.experiments.reporting.comparisons import (
    Comparison,
    compare,
    comparison_table,
    control_of,
    controlled,
    other_settings,
    unlearned_of,
    verdict_table,
)
from agwm.experiments.reporting.runs import labels_of
from agwm.markdown import code, escape, table
from agwm.methods import METHODS
from agwm.nested import flat_settings

__all__ = [
    "alpha_section",
    "baseline_section",
    "control_section",
    "failed_section",
    "refused_section",
    "settings_section",
    "unlearned_section",
    "versions_section",
]

BASELINE = "vanilla"
_PER_TASK = ("task", "seed", "data.", "train_size")
_TESTS = """Two-sided t-tests of "the means are equal" at 5 %: paired by seed on the seeds that both
have, and Welch's on all scores. The difference is that of the paired test, times 100, with
its 95 % interval. Holm: corrected within a family, which is all methods of the table on one
task, paired and Welch apart. "Over tasks" compares each seed's mean over the tasks of the
average column and is a family of its own. n: scores of the method and of the baseline.
Failed: runs of both that gave no score and are in no test. Bold: below 0.05 after
correction. "Not told apart" does not say "equal", and a test on two or three pairs rests on
scores being normal, which so few cannot show.
"""
_SIZES = """In a line whose numbers under n differ, or exceed its pairs, Welch's test compares means over
different seeds, and so do the means in the table of scores. The paired test is on the common
seeds alone: read that one there.
"""


def baseline_section(runs: Sequence[Record]) -> list[str]:
    """Test every method of one model and size against vanilla."""
    labels = labels_of(runs)
    parts = [f"### Against {BASELINE}\n"]
    if BASELINE in labels and len(labels) > 1:
        found = compare(runs, {label: BASELINE for label in labels if label != BASELINE})
        parts.append(_TESTS)
        parts += _tested(found)
    else:
        parts.append(f"No tests: there are no records of `{BASELINE}` and of another method.\n")
    return parts


def control_section(runs: Sequence[Record]) -> list[str]:
    """Test every label against its control with alpha held at 1."""
    agwm = labels_of(controlled(runs))
    if not agwm:
        return []
    parts = ["### What alpha contributes: agwm against its control with alpha held at 1\n"]
    controls = {label: control for label in agwm if (control := control_of(runs, label)) is not None}
    found = compare(runs, controls)
    if found:
        parts.append("The same tests; the family is all labels of agwm on one task.\n")
        parts += _tested(found, with_baseline=True)
    else:
        parts.append("No tests: there are no records of `frozen` on a task of agwm.\n")
    for label, control in controls.items():
        if changed := other_settings(runs, label, control):
            keys = ", ".join(map(code, changed))
            names = f"{code(control)} is not the exact control of {code(label)}"
            parts.append(f"{names}: {keys} differ as well.\n")
    return parts


def unlearned_section(runs: Sequence[Record]) -> list[str]:
    """Test every label of agwm against its control that does not learn alpha, if there is one."""
    agwm = labels_of(controlled(runs))
    controls = {label: control for label in agwm if (control := unlearned_of(runs, label)) is not None}
    found = compare(runs, controls)
    if not found:
        return []
    text = """The same tests; the family is all labels of agwm that have such a control, on one task. In it
alpha is not learned (method `as_drawn`, or a learning rate of alpha of 0): seed by seed splits,
batches, dropout masks and the first alpha are the same, and what differs is learning alone.
`frozen` sees these masks too, but not in runs from before the outer passes of agwm had a random
stream of their own.
"""
    return [
        "### What learning alpha contributes: agwm against agwm with alpha as it is drawn\n",
        text,
        *_tested(found, with_baseline=True),
    ]


def alpha_section(runs: Sequence[Record]) -> list[str]:
    """Say how far each method moved alpha, and by how much the score changed."""
    effects = alpha_effects(runs)
    if not effects:
        return []
    groups: dict[tuple[str, str], list[AlphaEffect]] = {}
    for one in effects:
        groups.setdefault((one.run.task, one.run.label), []).append(one)
    labels = labels_of(one.run for one in effects)
    lines = []
    for task, label in sorted(groups, key=lambda key: (key[0], labels.index(key[1]))):
        own = groups[task, label]
        start = start_of_alpha(own[0].run)
        distances = [one.from_start for one in own if one.from_start is not None]
        lines.append(
            [
                escape(task),
                escape(label) if own[0].is_learned else f"{escape(label)} (not learned)",
                str(len(own)),
                f"{statistics.fmean(one.moved for one in own):.4f}",
                "-" if start is None else f"{start:.4f}",
                f"{statistics.fmean(distances):.4f}" if distances else "-",
                f"{min(one.lowest for one in own):.3f}",
                _mean_difference([one.over_drawn for one in own]),
                _mean_difference([one.over_held for one in own]),
            ]
        )
    head = (
        "task",
        "method",
        "runs",
        "mean 1 - alpha",
        "at the start",
        "moved from it",
        "lowest alpha",
        "over alpha as drawn",
        "over alpha at 1",
    )
    note = (
        "\nMeans over runs and mixed matrices. At the start: what is expected of the initial values. Moved"
        " from it: mean distance, where the records hold it. Over alpha as drawn: mean difference, times"
        " 100 (seeds that have both), to the control that does not learn it: what learning brought."
        " Over alpha at 1: the same to the control `frozen`: what drawing alpha, and learning it where that"
        " is done, brought together. Not learned: the learning rate of alpha is 0.\n"
    )
    return ["### How far alpha moved\n", table(head, lines, right=range(2, 9)) + note]


def failed_section(runs: Sequence[Record]) -> list[str]:
    """List the failed runs with the reason of each."""
    failed = [run for run in runs if run.failure is not None]
    if not failed:
        return []
    order = labels_of(failed)
    failed.sort(key=lambda run: (run.task, order.index(run.label), run.seed))
    lines = [
        [escape(run.label), escape(run.task), str(run.seed), escape(str(run.failure))] for run in failed
    ]
    return ["### Failed runs\n", table(("method", "task", "seed", "reason"), lines, right=[2])]


def refused_section(refused: Sequence[Refusal]) -> list[str]:
    """List the refusals of one model and size, with the reason of each.

    Args:
        refused: Refusals of that model and size.
    """
    if not refused:
        return []
    ranks = list(METHODS)
    groups: dict[tuple[int, str, str], set[str]] = {}
    for one in refused:
        rank = ranks.index(one.method) if one.method in ranks else len(ranks)
        groups.setdefault((rank, one.label, one.reason), set()).add(one.task)
    lines = [
        [escape(key[1]), escape(", ".join(sorted(tasks))), escape(key[2])]
        for key, tasks in sorted(groups.items())
    ]
    return ["### Refused\n", table(("method", "tasks", "reason"), lines)]


def settings_section(runs: Sequence[Record]) -> list[str]:
    """Show the settings of a label that differ between tasks, such as settings chosen by dev score."""
    lines = []
    for label in labels_of(runs):
        own = {run.task: flat_settings(run.settings) for run in runs if run.label == label}
        keys = dict.fromkeys(key for settings in own.values() for key in settings)
        for key in (key for key in keys if not key.startswith(_PER_TASK)):
            values = {task: settings.get(key) for task, settings in sorted(own.items())}
            if len({repr(value) for value in values.values()}) > 1:
                listed = ", ".join(f"{task}: {value}" for task, value in values.items())
                lines.append([escape(label), code(key), escape(listed)])
    if not lines:
        return []
    return ["### Settings that differ between tasks\n", table(("method", "setting", "values"), lines)]


def versions_section(runs: Sequence[Record]) -> str:
    """Count the runs by version of each library, and by device."""
    counts: dict[str, dict[str, int]] = {}
    for run in runs:
        info = run.run_info
        found = {**info.versions, "device": info.device, "threads": info.threads}
        for name, value in found.items():
            own = counts.setdefault(name, {})
            own[str(value)] = own.get(str(value), 0) + 1
    lines = [
        [
            escape(name),
            escape(
                "; ".join(
                    f"{value} ({number} runs)" if len(own) > 1 else value for value, number in own.items()
                )
            ),
        ]
        for name, own in counts.items()
    ]
    return table(("what", "version"), lines)


def _tested(found: Sequence[Comparison], with_baseline: bool = False) -> list[str]:
    """Return the two tables of tests, and a note if their numbers of seeds differ."""
    return [verdict_table(found), comparison_table(found, with_baseline), *_sizes_note(found)]


def _sizes_note(comparisons: Sequence[Comparison]) -> list[str]:
    return [_SIZES] if any(set(one.sizes) != {one.num_pairs} for one in comparisons) else []


def _mean_difference(differences: Sequence[float | None]) -> str:
    known = [one for one in differences if one is not None]
    return f"{100 * statistics.fmean(known):+.2f} ({len(known)})" if known else "-"
