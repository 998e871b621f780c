"""Make a task of tables: the kind of its labels, its classes, its texts and its metric."""

from __future__ import annotations

from collections.abc import Sequence

import datasets

from agwm.data._infer import check_names, convert_labels, infer_labels, spell_labels
from agwm.data._texts import read_texts
from agwm.data.tables import Table
from agwm.data.task_data import TaskData
from agwm.data.tasks import Task
from agwm.errors import DataError, shown

__all__ = ["as_names", "assemble", "check_options"]


def as_names(columns: str | Sequence[str]) -> list[str]:
    """Return the names of columns, of which one may stand alone."""
    return [columns] if isinstance(columns, str) else list(columns)


def check_options(
    text_columns: Sequence[str],
    label_column: str,
    regression: bool | None,
    label_names: Sequence[str] | None,
) -> None:
    """Raise unless the options fit together; they are those of :func:`agwm.data.load_files`.

    Raises:
        DataError: If they do not.
    """
    if len(text_columns) not in (1, 2):
        raise DataError(
            f"Wrong number of text columns: expected 1 or 2, got {len(text_columns)} "
            f"({', '.join(shown(one, 40) for one in text_columns[:5])})."
        )
    wanted = [*text_columns, label_column]
    if len(set(wanted)) < len(wanted):
        raise DataError(f"A column is named twice: expected different ones, got {shown(wanted)}.")
    if regression and label_names is not None:
        raise DataError("Regression has no classes: expected no label_names, or regression=False.")


def assemble(
    tables: Sequence[Table],
    sources: tuple[str, str],
    text_columns: Sequence[str],
    label_column: str,
    *,
    label_names: Sequence[str] | None = None,
    regression: bool | None = None,
    metric: str | None = None,
    name: str = "custom",
    positive: str | None = None,
    is_file: bool = True,
) -> TaskData:
    """Make a task of a training table and, where there is one, a test table.

    Args:
        tables: The training rows; the test rows, or nothing.
        sources: Names of the two, for notes.
        text_columns: One or two columns of text.
        label_column: Name of the column that holds the labels.
        label_names: Classes in index order; None: those of the training rows.
        regression: True for scores, False for classes, None to tell from the labels.
        metric: Key of ``METRICS``; None: accuracy, or spearman for regression.
        name: Name of the task.
        positive: The class that f1 is of; None: the second.
        is_file: The tables come from files; it is for messages alone.

    Raises:
        DataError: If a text or label is missing or wrong.
    """
    told = [list(table.notes) for table in tables]
    labels = []
    for table, notes in zip(tables, told, strict=True):
        spelled, found = spell_labels(table, label_column)
        labels.append(spelled)
        notes += found
    if label_names is not None:
        names: tuple[str, ...] | None = check_names(label_names)
    else:
        names, found = infer_labels(labels[0], tables[0], regression)
        told[0] += found
    default = "spearman" if names is None else "accuracy"
    task = Task(
        name, ("sentence1", "sentence2")[: len(text_columns)], names, metric or default, positive=positive
    )
    parts = []
    for number, (table, notes) in enumerate(zip(tables, told, strict=True)):
        data: dict[str, list] = {}
        for canonical, column in zip(task.text_columns, text_columns, strict=True):
            data[canonical], found = read_texts(table, column, task.is_pair)
            notes += found
        try:
            data["label"], found = convert_labels(labels[number], table, names, label_names is not None)
        except DataError as error:
            hint = "" if number == 0 or label_names is not None else _hint(names, is_file)
            raise DataError(f"{error}{hint}") from None
        if number == 0 and names is not None:
            unused = [shown(names[at], 40) for at in sorted({*range(len(names))} - {*data["label"]})]
            found += [f"no example of class {', '.join(unused[:5])}"] if unused else []
        notes += found
        parts.append(datasets.Dataset.from_dict(data))
    if len(parts) == 1:
        parts.append(_without_rows(parts[0]))
    lines = [f"{source}: {note}" for source, notes in zip(sources, told, strict=False) for note in notes]
    if task.positive_class is not None:
        lines.append(f"f1 is that of class {shown(task.positive_class, 80)}")
    return TaskData(task, *parts, notes=tuple(dict.fromkeys(lines)), sources=sources)


def _without_rows(examples: datasets.Dataset) -> datasets.Dataset:
    """Return a data set of the same columns and types that has no row."""
    empty: dict[str, list] = {name: [] for name in examples.column_names}
    return datasets.Dataset.from_dict(empty, features=examples.features)


def _hint(names: tuple[str, ...] | None, is_file: bool) -> str:
    of = "of the train file" if is_file else "of the training rows"
    return f" The labels {of} are scores." if names is None else f" The classes are those {of}."
