"""Tables from records: mean ± standard deviation over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agwm.config import METHODS

__all__ = ["Row", "markdown_table", "summarize"]

Record = Mapping[str, Any]
_HEADER = (
    "task",
    "model",
    "n",
    "metric",
    "method",
    "score",
    "seeds",
    "degenerate",
    "failed",
    "passes",
    "time",
)


@dataclass(frozen=True)
class Row:
    """One method on one task, over seeds.

    Attributes:
        task: Name of the task.
        model: Name of the model.
        train_size: Number of training examples.
        metric: What the score is.
        method: Name of the method.
        scores: Test scores of the runs that gave one, as fractions, in the order of ``seeds``.
        seeds: Their seeds.
        num_degenerate: How many of them are no better than the best constant answer.
        num_failed: Runs that gave no score, because numbers were not finite.
        passes: Mean number of forward and backward passes of a batch in training.
        seconds: Mean time of training.
    """

    task: str
    model: str
    train_size: int
    metric: str
    method: str
    scores: tuple[float, ...]
    seeds: tuple[int, ...]
    num_degenerate: int
    num_failed: int
    passes: float
    seconds: float

    @property
    def mean(self) -> float | None:
        """Mean score, or None where every run failed."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def std(self) -> float | None:
        """Standard deviation of the score with ddof 0, as published, or None."""
        return statistics.pstdev(self.scores) if self.scores else None


def summarize(records: Iterable[Record]) -> list[Row]:
    """Group records by task, model, size and method.

    Args:
        records: What :func:`agwm.records.load_records` gives; runs of several tasks may be mixed.

    Returns:
        One row a group, by task, model and size, and within these in the order of ``METHODS``.
    """
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        info = record["run_info"]
        key = (info["task"], info["model"], info["train_size"], _rank(info["method"]), info["method"])
        groups.setdefault(key, []).append(record)
    return [_row(groups[key]) for key in sorted(groups)]


def markdown_table(rows: Sequence[Row]) -> str:
    """Write rows as a Markdown table that also reads well as plain text; scores are times 100.

    Args:
        rows: What :func:`summarize` gives.

    Returns:
        The table and a line that explains it, ending in a newline.
    """
    cells = [_HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADER))]
    is_number = [name not in ("task", "model", "metric", "method") for name in _HEADER]
    rule = tuple("-" * (w - 1) + ":" if n else "-" * w for w, n in zip(widths, is_number, strict=True))
    lines = [
        "| " + " | ".join(_align(c, w, n) for c, w, n in zip(line, widths, is_number, strict=True)) + " |"
        for line in (cells[0], rule, *cells[1:])
    ]
    return "\n".join(lines) + (
        "\n\nScore: on the test set, times 100, mean ± standard deviation over seeds (ddof 0)."
        " Degenerate: no better than the best constant answer. Failed: not finite, not in the mean.\n"
    )


def _rank(method: str) -> int:
    return METHODS.index(method) if method in METHODS else len(METHODS)


def _row(records: Sequence[Record]) -> Row:
    info = records[0]["run_info"]
    done = [r for r in records if r["scores"]["test"] is not None]
    done.sort(key=lambda r: r["run_info"]["seed"])
    return Row(
        task=info["task"],
        model=info["model"],
        train_size=info["train_size"],
        metric=records[0]["scores"]["metric"],
        method=info["method"],
        scores=tuple(r["scores"]["test"] for r in done),
        seeds=tuple(r["run_info"]["seed"] for r in done),
        num_degenerate=sum(r["scores"]["is_degenerate"] for r in done),
        num_failed=len(records) - len(done),
        passes=statistics.fmean(r["train_info"]["passes"] for r in records),
        seconds=statistics.fmean(r["train_info"]["total_seconds"] for r in records),
    )


def _cells(row: Row) -> tuple[str, ...]:
    score = "-" if row.mean is None else f"{100 * row.mean:.2f} ± {100 * row.std:.2f}"
    return (
        row.task,
        row.model,
        str(row.train_size),
        row.metric,
        row.method,
        score,
        str(len(row.scores)),
        str(row.num_degenerate),
        str(row.num_failed),
        f"{row.passes:.0f}",
        f"{row.seconds:.0f} s",
    )


def _align(cell: str, width: int, is_number: bool) -> str:
    return cell.rjust(width) if is_number else cell.ljust(width)
