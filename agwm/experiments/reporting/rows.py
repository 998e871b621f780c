"""Tables of methods with mean ± standard deviation over seeds, and with their cost."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agwm.experiments.record import Record
from agwm.experiments.reporting.chance import CHANCE_NOTE, count_at_chance
from agwm.experiments.reporting.runs import check_runs, labels_of
from agwm.experiments.reporting.spread import Spread, spread_text
from agwm.markdown import escape, table

__all__ = ["NOTE", "ScoreRow", "markdown_table", "rows_table", "summarize"]

_HEADER = (
    "task",
    "model",
    "n",
    "metric",
    "method",
    "score",
    "seeds",
    "degenerate",
    "not above chance",
    "failed",
    "passes",
    "time",
)
NOTE = (
    "Score: on the test set, times 100, mean ± standard deviation over seeds (ddof 0), of one seed without"
    f" ±. Degenerate: no better than the best constant answer. {CHANCE_NOTE} Failed: gave no score, not in"
    " the mean."
)
_WORDS = ("task", "model", "metric", "method")


@dataclass(frozen=True)
class ScoreRow(Spread):
    """One method on one task, over seeds.

    Attributes:
        task: Name of the task.
        model: Name of the model.
        train_size: Number of training examples.
        metric: Name of the metric, with the class that it is of.
        method: Label of the method: its name, or that of a variant of it.
        scores: Test scores of the runs that gave one, as fractions, in the order of ``seeds``.
        seeds: Their seeds.
        num_degenerate: Number of scores that are no better than the best constant answer.
        num_at_chance: Number of scores that are not above chance; None: that cannot be judged.
        num_failed: Runs without a score; their records give the reason.
        passes: Mean number of forward and backward passes of a batch in training, over ``seeds``.
        seconds: Mean time of training, over ``seeds``.
    """

    task: str
    model: str
    train_size: int
    metric: str
    method: str
    scores: tuple[float, ...]
    seeds: tuple[int, ...]
    num_degenerate: int
    num_at_chance: int | None
    num_failed: int
    passes: float
    seconds: float


def summarize(runs: Iterable[Record]) -> list[ScoreRow]:
    """Group records by task, model, size and method.

    Args:
        runs: The result of :func:`agwm.experiments.reporting.runs.load_runs`, of one task or of several.

    Returns:
        One row a group, by task, model and size, and within these in the order of
        :func:`agwm.experiments.reporting.runs.labels_of`.

    Raises:
        DataError: If :func:`agwm.experiments.reporting.runs.check_runs` objects to their settings.
    """
    runs = list(runs)
    check_runs(
        {
            f"record {place} of {run.label}, {run.task}, seed {run.seed}": run
            for place, run in enumerate(runs)
        }
    )
    labels = labels_of(runs)
    groups: dict[tuple, list[Record]] = {}
    for run in runs:
        key = (run.task, run.model, run.train_size, labels.index(run.label))
        groups.setdefault(key, []).append(run)
    return [_row(groups[key]) for key in sorted(groups)]


def markdown_table(rows: Sequence[ScoreRow]) -> str:
    """Write rows as a Markdown table that also reads well as plain text; scores are times 100.

    Args:
        rows: The result of :func:`summarize`.

    Returns:
        The table and a line that explains it, ending in a newline.
    """
    return f"{rows_table(rows)}\n{NOTE}\n"


def rows_table(rows: Sequence[ScoreRow]) -> str:
    """Write the table of :func:`markdown_table` without the line that explains it."""
    numbers = [place for place, name in enumerate(_HEADER) if name not in _WORDS]
    return table(_HEADER, [_cells(row) for row in rows], right=numbers)


def _row(runs: Sequence[Record]) -> ScoreRow:
    done = sorted((run for run in runs if run.score is not None), key=lambda run: run.seed)
    # A failed run may have stopped anywhere: its cost says nothing of the method's.
    counted = done or runs
    return ScoreRow(
        task=runs[0].task,
        model=runs[0].model,
        train_size=runs[0].train_size,
        metric=counted[0].scores.name,
        method=runs[0].label,
        scores=tuple(run.score for run in done if run.score is not None),
        seeds=tuple(run.seed for run in done),
        num_degenerate=sum(run.scores.is_degenerate for run in done),
        num_at_chance=count_at_chance(done),
        num_failed=sum(run.failure is not None for run in runs),
        passes=statistics.fmean(run.train_info.passes for run in counted),
        seconds=statistics.fmean(run.train_info.total_seconds for run in counted),
    )


def _cells(row: ScoreRow) -> tuple[str, ...]:
    return (
        escape(row.task),
        escape(row.model),
        str(row.train_size),
        escape(row.metric),
        escape(row.method),
        spread_text(row.mean, row.std),
        str(len(row.scores)),
        str(row.num_degenerate),
        "-" if row.num_at_chance is None else str(row.num_at_chance),
        str(row.num_failed),
        f"{row.passes:.0f}",
        f"{row.seconds:.0f} s",
    )
