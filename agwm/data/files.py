"""Make a task from the user's own files: CSV, TSV, JSON, Parquet and Excel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import datasets

from agwm.data._infer import check_names, convert_labels, infer_labels, spell_labels
from agwm.data._texts import read_texts
from agwm.data.decoding import decode
from agwm.data.delimited import read_delimited
from agwm.data.file_bytes import file_place, kind_of, read_bytes, unpack
from agwm.data.json_rows import read_json_rows
from agwm.data.tables import Table
from agwm.data.task_data import TaskData, source_names
from agwm.data.tasks import Task
from agwm.data.typed_files import read_excel, read_parquet
from agwm.errors import DataError, shown

__all__ = ["load_files"]

_TEXTUAL = ("csv", "tsv", "json")


def load_files(
    train_file: str | Path,
    test_file: str | Path,
    text_columns: Sequence[str],
    label_column: str,
    label_names: Sequence[str] | None = None,
    regression: bool | None = None,
    metric: str | None = None,
    name: str = "custom",
    *,
    encoding: str | None = None,
    separator: str | None = None,
    sheet: str | None = None,
    positive: str | None = None,
) -> TaskData:
    """Make a task from the user's own files.

    The ending of the name decides how a file is read: ``.csv`` with quotes, ``.tsv`` without (as GLUE),
    ``.json`` / ``.jsonl`` as lines, an array of objects or what pandas writes, ``.parquet``, ``.xlsx``;
    ``.gz``, ``.bz2``, ``.xz`` or ``.zip`` may follow. Every row is used, or the file is refused; blank rows
    are left out. A path is the name of one file: it has no patterns. Nothing is cached.

    Unless you state the kind of labels, the training file decides it. Whole numbers (``1``, ``1.0``) and
    texts are classes, in sorted order, as they are written: ``01`` is not ``1``. Numbers with a fraction
    are scores (regression). What the reader found and chose is in ``notes`` of the result.

    Args:
        train_file: Training examples.
        test_file: Test examples, with the same columns.
        text_columns: One or two columns of text.
        label_column: Name of the column that holds the labels.
        label_names: Classes in index order. Labels in a file are these names, or all are their indices.
        regression: True for scores, False for classes, None to tell from the labels.
        metric: Key of ``METRICS``; by default accuracy, or spearman for regression.
        name: Name of the task.
        encoding: Encoding of text files; None: UTF-8, or by the byte order mark.
        separator: Mark between the cells of CSV and TSV files; None: found by the header.
        sheet: Sheet of Excel files; None: the first.
        positive: The class that f1 is of; None: the second.

    Returns:
        The data with columns ``sentence1`` (``sentence2``) and ``label``.

    Raises:
        DataError: If a file, column, text or label is missing or wrong, or options contradict
            each other; the message names file and example.
        MissingExtraError: If a file is of Excel, and openpyxl is not installed.
    """
    text_columns = [text_columns] if isinstance(text_columns, str) else list(text_columns)
    wanted = [*text_columns, label_column]
    _check_options(text_columns, wanted, regression, label_names)
    paths = [Path(train_file), Path(test_file)]
    kinds = [kind_of(path) for path in paths]
    _check_reading(kinds, encoding, separator, sheet)
    tables = [
        _read(path, kind, wanted, encoding, separator, sheet)
        for path, kind in zip(paths, kinds, strict=True)
    ]
    sources = source_names(train_file, test_file)
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
            raise DataError(f"{error}{_hint(number, names, label_names)}") from None
        if number == 0 and names is not None:
            unused = [shown(names[at], 40) for at in sorted({*range(len(names))} - {*data["label"]})]
            found += [f"no example of class {', '.join(unused[:5])}"] if unused else []
        notes += found
        parts.append(datasets.Dataset.from_dict(data))
    lines = [f"{source}: {note}" for source, notes in zip(sources, told, strict=True) for note in notes]
    if task.positive_class is not None:
        lines.append(f"f1 is that of class {shown(task.positive_class, 80)}")
    return TaskData(task, *parts, notes=tuple(dict.fromkeys(lines)), sources=sources)


def _hint(number: int, names: tuple[str, ...] | None, label_names: Sequence[str] | None) -> str:
    if number == 0 or label_names is not None:
        return ""
    if names is None:
        return " The labels of the train file are scores."
    return " The classes are those of the train file."


def _read(
    path: Path,
    kind: str,
    columns: Sequence[str],
    encoding: str | None,
    separator: str | None,
    sheet: str | None,
) -> Table:
    """Read the named columns of a file.

    Raises:
        DataError: If the file is missing or wrong, or has no row.
    """
    place = file_place(path)
    data = unpack(path, read_bytes(path), kind)
    notes: list[str] = []
    if kind == "parquet":
        table = read_parquet(data, place, columns)
    elif kind == "excel":
        table = read_excel(data, place, columns, sheet)
    else:
        text, notes = decode(data, place, encoding)
        if kind == "json":
            table = read_json_rows(text, place, columns)
        else:
            table = read_delimited(text, place, columns, kind == "tsv", separator)
    if not table.columns[columns[0]]:
        raise DataError(f"{place} has no examples: expected one per row. Check the file.")
    return table.with_notes(notes)


def _check_options(
    text_columns: Sequence[str],
    wanted: Sequence[str],
    regression: bool | None,
    label_names: Sequence[str] | None,
) -> None:
    if len(text_columns) not in (1, 2):
        raise DataError(
            f"Wrong number of text columns: expected 1 or 2, got {len(text_columns)} "
            f"({', '.join(shown(one, 40) for one in text_columns[:5])})."
        )
    if len(set(wanted)) < len(wanted):
        raise DataError(f"A column is named twice: expected different ones, got {shown(wanted)}.")
    if regression and label_names is not None:
        raise DataError("Regression has no classes: expected no label_names, or regression=False.")


def _check_reading(
    kinds: Sequence[str], encoding: str | None, separator: str | None, sheet: str | None
) -> None:
    """Raise if an option is for another kind of file than both are.

    Raises:
        DataError: If there is such an option.
    """
    for option, value, fitting in (
        ("encoding", encoding, _TEXTUAL),
        ("separator", separator, ("csv", "tsv")),
        ("sheet", sheet, ("excel",)),
    ):
        if value is not None and not set(fitting) & set(kinds):
            raise DataError(
                f"Option {option} is for {', '.join(fitting)} files: expected one, got"
                f" {' and '.join(dict.fromkeys(kinds))}. Leave --{option} out."
            )
