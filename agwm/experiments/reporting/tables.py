"""Tables of methods by tasks from stored runs, in Markdown and LaTeX."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agwm.errors import DataError
from agwm.experiments.record import Record
from agwm.experiments.reporting.chance import CHANCE_NOTE, count_at_chance
from agwm.experiments.reporting.runs import labels_of
from agwm.experiments.reporting.spread import Spread, spread_text
from agwm.markdown import escape, flat, table

__all__ = [
    "OVER_TASKS",
    "TableCell",
    "Table",
    "common_tasks",
    "escape_latex",
    "latex_table",
    "make_table",
    "wide_table",
]

OVER_TASKS = "over tasks"
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: "\\" + character for character in "&%$#_{}"},
}


@dataclass(frozen=True)
class TableCell(Spread):
    """One method on one task.

    Attributes:
        scores: Test scores of the runs that gave one, as fractions.
        num_failed: Runs that gave none.
        num_degenerate: Runs whose score is no better than the best constant answer; they are in the mean.
        num_at_chance: Runs whose score is not above chance, likewise; None where that cannot be judged.
        is_complete: Every seed of the table gave a score.
    """

    scores: tuple[float, ...]
    num_failed: int
    num_degenerate: int
    num_at_chance: int | None
    is_complete: bool


@dataclass(frozen=True)
class Table:
    """All methods on all tasks, of one model and size.

    Attributes:
        model: Name of the model.
        train_size: Number of training examples.
        labels: The rows.
        tasks: The columns.
        metrics: Name of a task -> what its score is.
        cells: (label, task) -> cell; no key: no record.
        seeds: All seeds of any run in the table.
        averaged: The tasks of the last column, at least two; empty: there is no such column. A row that
            lacks one of them has no average.
    """

    model: str
    train_size: int
    labels: tuple[str, ...]
    tasks: tuple[str, ...]
    metrics: dict[str, str]
    cells: dict[tuple[str, str], TableCell]
    seeds: tuple[int, ...]
    averaged: tuple[str, ...]

    def average(self, label: str) -> tuple[float, float | None] | None:
        """Return the means over tasks of a row's means and of its standard deviations, as published.

        The second is None where a cell has no standard deviation; all is None where a score is missing.
        """
        cells = [self.cells.get((label, task)) for task in self.averaged]
        there = [cell for cell in cells if cell is not None]
        means = [cell.mean for cell in there if cell.mean is not None]
        stds = [cell.std for cell in there if cell.std is not None]
        if not cells or len(means) < len(cells):
            return None
        return statistics.fmean(means), statistics.fmean(stds) if len(stds) == len(cells) else None

    def best(self, task: str) -> float | None:
        """Return the highest mean of the complete cells of a column; None below two complete cells."""
        complete = [cell for (_, name), cell in self.cells.items() if name == task and cell.is_complete]
        means = [cell.mean for cell in complete if cell.mean is not None]
        return max(means) if len(means) > 1 else None


def common_tasks(runs: Sequence[Record]) -> list[str]:
    """Return the tasks that more than half of the scored methods have a score on.

    A method that lacks one of them is left out of all averages over tasks, and takes none away from the
    others. Empty if that leaves no method.
    """
    has = {(run.label, run.task) for run in runs if run.score is not None}
    labels = {label for label, _ in has}
    tasks = sorted({task for _, task in has})
    most = [task for task in tasks if 2 * sum((label, task) in has for label in labels) > len(labels)]
    return most if any(all((label, task) in has for task in most) for label in labels) else []


def make_table(runs: Sequence[Record]) -> Table:
    """Arrange the runs of one model and size.

    Args:
        runs: One group of :func:`agwm.experiments.reporting.runs.tables_of`.

    Raises:
        DataError: If there is none, or they are of several models or sizes.
    """
    kinds = sorted({(run.model, run.train_size) for run in runs})
    if len(kinds) != 1:
        raise DataError(f"Cannot make one table: expected runs of one model and size, got {kinds[:5]}.")
    seeds = tuple(sorted({run.seed for run in runs}))
    groups: dict[tuple[str, str], list[Record]] = {}
    for run in runs:
        groups.setdefault((run.label, run.task), []).append(run)
    averaged = tuple(common_tasks(runs))
    return Table(
        *kinds[0],
        labels=tuple(labels_of(runs)),
        tasks=tuple(sorted({run.task for run in runs})),
        metrics={run.task: run.scores.name for run in runs},
        cells={key: _cell(own, len(seeds)) for key, own in groups.items()},
        seeds=seeds,
        averaged=averaged if len(averaged) > 1 else (),
    )


def wide_table(table_: Table) -> str:
    """Write a table in Markdown, with the lines that explain it; scores are times 100."""
    head = list(map(escape, _head(table_)))
    lines = [[escape(label), *_line(table_, label, " ± ", "**{}**")[1:]] for label in table_.labels]
    return table(head, lines, right=range(1, len(head))) + "\n" + _note(table_, escape) + "\n"


def latex_table(table_: Table) -> str:
    r"""Write a table in LaTeX: a plain ``tabular`` with ``\hline``, without packages."""
    head = _head(table_)
    lines = [
        [escape_latex(label), *_line(table_, label, r" $\pm$ ", r"\textbf{{{}}}")[1:]]
        for label in table_.labels
    ]
    caption = f"{table_.model}, {table_.train_size} training examples. {_note(table_)}".replace(
        " ± ", " +- "
    )
    rows = [
        r"\begin{table}",
        r"\centering",
        r"\begin{tabular}{l" + "r" * (len(head) - 1) + "}",
        r"\hline",
        " & ".join(map(escape_latex, head)) + r" \\",
        r"\hline",
        *(" & ".join(line) + r" \\" for line in lines),
        r"\hline",
        r"\end{tabular}",
        r"\caption{" + escape_latex(caption) + "}",
        r"\end{table}",
    ]
    return "\n".join(rows) + "\n"


def escape_latex(text: str) -> str:
    """Return a text that LaTeX prints literally; letters beyond ASCII depend on its fonts."""
    return "".join(_LATEX.get(character, character) for character in flat(text))


def _cell(runs: Sequence[Record], num_seeds: int) -> TableCell:
    done = sorted((run for run in runs if run.score is not None), key=lambda run: run.seed)
    return TableCell(
        scores=tuple(run.score for run in done if run.score is not None),
        num_failed=sum(run.failure is not None for run in runs),
        num_degenerate=sum(run.scores.is_degenerate for run in done),
        num_at_chance=count_at_chance(done),
        is_complete=len(done) == num_seeds,
    )


def _head(table_: Table) -> list[str]:
    tasks = [f"{task} ({table_.metrics[task]})" for task in table_.tasks]
    return ["method", *tasks, *(["average"] if table_.averaged else [])]


def _line(table_: Table, label: str, plus_minus: str, bold: str) -> list[str]:
    cells = [_text(table_, label, task, plus_minus, bold) for task in table_.tasks]
    return [label, *cells, *([_average(table_, label, plus_minus)] if table_.averaged else [])]


def _text(table_: Table, label: str, task: str, plus_minus: str, bold: str) -> str:
    cell = table_.cells.get((label, task))
    if cell is None:
        return "-"
    marks = [] if cell.is_complete else [f"{len(cell.scores)}/{len(table_.seeds)}"]
    marks += [f"{cell.num_failed} failed"] if cell.num_failed else []
    marks += [f"{cell.num_degenerate} degenerate"] if cell.num_degenerate else []
    marks += [f"{cell.num_at_chance} not above chance"] if cell.num_at_chance else []
    text = spread_text(cell.mean, cell.std, plus_minus)
    if cell.mean is not None and cell.is_complete and cell.mean == table_.best(task):
        text = bold.format(text)
    return text + (f" ({', '.join(marks)})" if marks else "")


def _average(table_: Table, label: str, plus_minus: str) -> str:
    numbers = table_.average(label)
    if numbers is None:
        return "-"
    is_complete = all(table_.cells[label, task].is_complete for task in table_.averaged)
    return spread_text(*numbers, plus_minus) + ("" if is_complete else " (part)")


def _note(table_: Table, name: Callable[[str], str] = str) -> str:
    seeds = ", ".join(map(str, table_.seeds))
    average = (
        f"Average: over {', '.join(map(name, table_.averaged))}, on which more than half of the methods"
        " have a score,"
        " of the means and of the standard deviations; -: the method lacks one of them; part: with a cell"
        " that lacks seeds."
        if table_.averaged
        else "No average: there are no two tasks on which more than half of the methods have a score."
    )
    return (
        f"Test scores times 100, mean ± standard deviation (ddof 0) over the seeds {seeds}; without ±: one"
        f" score. k/{len(table_.seeds)}: only k of them gave a score. Failed: gave no score, not in the"
        f" mean. Degenerate: no better than the best constant answer, in the mean. {CHANCE_NOTE} Bold: the"
        f" highest mean of the cells with all seeds. {average}"
    )
