"""Compare methods with a baseline: choose the runs, test them by families, and write the tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from agwm.evaluation.significance import LEVEL, TTest, holm, paired_t_test, welch_t_test
from agwm.experiments.record import Record
from agwm.experiments.reporting.runs import labels_of
from agwm.experiments.reporting.tables import OVER_TASKS, common_tasks
from agwm.markdown import escape, table
from agwm.methods import METHODS
from agwm.methods.two_level import OF_ALPHA, OF_LEARNING
from agwm.nested import flat_settings

__all__ = [
    "Comparison",
    "compare",
    "comparison_table",
    "control_of",
    "controlled",
    "other_settings",
    "unlearned_of",
    "verdict_table",
]

Scores = Mapping[str, Mapping[int, float | None]]  # label -> seed -> score; None: the run failed


@dataclass(frozen=True)
class Comparison:
    """One method against one baseline, on one task or over tasks.

    Attributes:
        task: The task, or ``OVER_TASKS``.
        label: The method.
        baseline: Label of the baseline.
        paired: Paired by seed, on the seeds that gave both a score.
        num_pairs: Number of these seeds.
        welch: On all scores of both.
        sizes: Number of these scores, of the method and of the baseline.
        excluded: Failed runs of both, which are in neither test.
        paired_holm: Corrected p-value of ``paired`` in its family; None: not tested.
        welch_holm: The same of ``welch``.
    """

    task: str
    label: str
    baseline: str
    paired: TTest
    num_pairs: int
    welch: TTest
    sizes: tuple[int, int]
    excluded: tuple[int, int]
    paired_holm: float | None = None
    welch_holm: float | None = None


def compare(runs: Sequence[Record], baselines: Mapping[str, str]) -> list[Comparison]:
    """Test methods against baselines on every task, and over tasks.

    A family is what Holm's correction is made over: all methods of ``baselines`` on one task, for the
    paired and for the Welch test apart. Over tasks is a family of its own; its numbers are the means over
    :func:`agwm.experiments.reporting.tables.common_tasks` of the seeds that gave a score on all of them.

    Args:
        runs: Runs of one model and size.
        baselines: Label of a method -> label that it is compared with.

    Returns:
        One comparison a task and method that both have a record there, tasks in order, then over tasks.
    """
    found: list[Comparison] = []
    for task in sorted({run.task for run in runs}):
        found += _family(task, _scores(runs, task), baselines)
    tasks = common_tasks(runs)
    if len(tasks) > 1:
        found += _family(OVER_TASKS, _means(runs, tasks), baselines)
    return found


def controlled(runs: Iterable[Record]) -> list[Record]:
    """Return the runs of methods that have a control with alpha held at 1."""
    return [run for run in runs if METHODS[run.method].control is not None]


def control_of(runs: Sequence[Record], label: str) -> str | None:
    """Return the label of the control with alpha held at 1 of another label.

    That is the one whose stages have the same settings on every common task, of several the one with most
    such tasks, then the first; else the control method itself if there is a common task, else None.
    """
    own = [run for run in runs if run.label == label]
    tasks, names = {run.task for run in own}, {METHODS[run.method].control for run in own}
    common = {
        control: len(tasks & {run.task for run in runs if run.label == control})
        for control in labels_of(run for run in runs if run.method in names)
    }
    same = [name for name, num in common.items() if num and not other_settings(runs, label, name)]
    fallback = next((name for name in names if name is not None and common.get(name)), None)
    return max(same, key=lambda name: common[name], default=fallback)


def unlearned_of(runs: Sequence[Record], label: str) -> str | None:
    """Return the label that differs from one of ``agwm`` only in not learning alpha; None if there is none.

    It is of ``as_drawn``, or of ``agwm`` with a learning rate of alpha of 0. Its splits, dropout masks and
    first alpha are the same.
    """
    first = {run.task: run for run in runs if run.label == label}
    for other in labels_of(filter(_is_unlearned, controlled(runs))):
        second = {run.task: run for run in runs if run.label == other}
        common = first.keys() & second.keys()
        is_same = all(_same_but_learning(first[task], second[task]) for task in common)
        if common and is_same and all(_learning_rate(run) for run in first.values()):
            return other
    return None


def other_settings(runs: Sequence[Record], label: str, control: str) -> list[str]:
    """Return the settings in the stages of W that differ in a control, on any common task."""
    first, second = ({run.task: run for run in runs if run.label == name} for name in (label, control))
    changed: dict[str, None] = {}
    for task in sorted(first.keys() & second.keys()):
        old, new = _stages(first[task]), _stages(second[task])
        changed |= {key: None for key in (*old, *new) if old.get(key) != new.get(key)}
    return list(changed)


def comparison_table(comparisons: Sequence[Comparison], with_baseline: bool = False) -> str:
    """Write comparisons as a Markdown table; differences are times 100.

    Args:
        comparisons: The result of :func:`compare`.
        with_baseline: Name the baseline in every line.
    """
    head = ["task", "method", *(["against"] if with_baseline else [])]
    head += [
        "difference [95 %]",
        "pairs",
        "p paired",
        "Holm",
        "n",
        "p Welch",
        "Holm",
        "failed",
        "not tested",
    ]
    lines = [
        [
            escape(one.task),
            escape(one.label),
            *([escape(one.baseline)] if with_baseline else []),
            _difference(one.paired),
            str(one.num_pairs),
            _p(one.paired.p_value),
            _p(one.paired_holm, bold=True),
            f"{one.sizes[0]}, {one.sizes[1]}",
            _p(one.welch.p_value),
            _p(one.welch_holm, bold=True),
            "{}, {}".format(*one.excluded),
            _reasons(one),
        ]
        for one in comparisons
    ]
    return table(head, lines, right=range(len(head) - 9, len(head) - 1))


def verdict_table(comparisons: Sequence[Comparison]) -> str:
    """Count for each method the tasks where the corrected paired test tells it from its baseline."""
    lines = []
    for label in dict.fromkeys(one.label for one in comparisons):
        own = [one for one in comparisons if one.label == label and one.task != OVER_TASKS]
        over = [one for one in comparisons if one.label == label and one.task == OVER_TASKS]
        sure = [one for one in own if one.paired_holm is not None and one.paired_holm < LEVEL]
        higher = sum(cast(float, one.paired.difference) > 0 for one in sure)
        tested = sum(one.paired_holm is not None for one in own)
        counts = (higher, len(sure) - higher, tested - len(sure), len(own) - tested)
        total = f"{_difference(over[0].paired)}, Holm {_p(over[0].paired_holm)}" if over else "-"
        lines.append([escape(label), *map(str, counts), total])
    head = ["method", "higher", "lower", "not told apart", "not tested", "over tasks [95 %]"]
    return table(head, lines, right=range(1, 6))


def _family(task: str, scores: Scores, baselines: Mapping[str, str]) -> list[Comparison]:
    found = []
    for label, baseline in baselines.items():
        both = [scores.get(name, {}) for name in (label, baseline)]
        if not all(both):
            continue
        done = [{seed: score for seed, score in own.items() if score is not None} for own in both]
        seeds = sorted(done[0].keys() & done[1].keys())
        found.append(
            Comparison(
                task=task,
                label=label,
                baseline=baseline,
                paired=paired_t_test(*([own[seed] for seed in seeds] for own in done)),
                num_pairs=len(seeds),
                welch=welch_t_test(*([own[seed] for seed in sorted(own)] for own in done)),
                sizes=(len(done[0]), len(done[1])),
                excluded=(len(both[0]) - len(done[0]), len(both[1]) - len(done[1])),
            )
        )
    paired = holm([one.paired.p_value for one in found])
    welch = holm([one.welch.p_value for one in found])
    return [
        replace(one, paired_holm=p, welch_holm=q) for one, p, q in zip(found, paired, welch, strict=True)
    ]


def _scores(runs: Sequence[Record], task: str) -> Scores:
    """Return the scores on one task."""
    found: dict[str, dict[int, float | None]] = {}
    for run in runs:
        if run.task == task:
            found.setdefault(run.label, {})[run.seed] = run.score
    return found


def _means(runs: Sequence[Record], tasks: Sequence[str]) -> Scores:
    """Return the means over tasks of the labels that have a score on each task; None if one run failed."""
    on_tasks = [_scores(runs, task) for task in tasks]
    found: dict[str, dict[int, float | None]] = {}
    for label in on_tasks[0]:
        own = [scores.get(label, {}) for scores in on_tasks]
        if not all(any(score is not None for score in scores.values()) for scores in own):
            continue
        for seed in dict.fromkeys(seed for scores in own for seed in scores):
            values = [scores[seed] for scores in own if seed in scores]
            numbers = [value for value in values if value is not None]
            if len(numbers) < len(values):
                found.setdefault(label, {})[seed] = None
            elif len(numbers) == len(tasks):
                found.setdefault(label, {})[seed] = statistics.fmean(numbers)
    return found


def _learning_rate(run: Record) -> float | None:
    return run.settings.get("search", {}).get("attention_learning_rate")


def _is_unlearned(run: Record) -> bool:
    return not METHODS[run.method].learns_alpha or _learning_rate(run) == 0


def _same_but_learning(run: Record, control: Record) -> bool:
    unused = OF_LEARNING if METHODS[control.method].learns_alpha else OF_ALPHA
    one, other = (_settings(each, unused, "mixing", "final") for each in (run, control))
    return one == other


def _stages(run: Record) -> dict[str, object]:
    return _settings(run, OF_ALPHA, "final")


def _settings(run: Record, unused: Sequence[str], *sections: str) -> dict[str, object]:
    """Return the settings of the search that act, and those of other sections."""
    search = {key: value for key, value in run.settings.get("search", {}).items() if key not in unused}
    return flat_settings({"search": search, **{name: run.settings.get(name, {}) for name in sections}})


def _difference(test: TTest) -> str:
    if test.difference is None:
        return "-"
    start = f"{100 * test.difference:+.2f}"
    return (
        start
        if test.low is None or test.high is None
        else f"{start} [{100 * test.low:+.2f}, {100 * test.high:+.2f}]"
    )


def _p(value: float | None, bold: bool = False) -> str:
    if value is None:
        return "-"
    text = "<0.001" if value < 0.001 else f"{value:.3f}"
    return f"**{text}**" if bold and value < LEVEL else text


def _reasons(one: Comparison) -> str:
    reasons = [
        f"{n}: {test.reason}" for n, test in (("paired", one.paired), ("Welch", one.welch)) if test.reason
    ]
    return "; ".join(reasons)
