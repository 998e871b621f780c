"""Make a task from rows in memory: a pandas data frame, a data set of Hugging Face, dicts or columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import datasets
import numpy as np
import pandas as pd
from torch import Tensor

from agwm.data.assembly import as_names, assemble, check_options
from agwm.data.tables import Table, column_index
from agwm.data.task_data import TaskData
from agwm.data.typed_files import class_name
from agwm.errors import DataError, shown

__all__ = ["Rows", "load_rows"]

Rows: TypeAlias = (
    pd.DataFrame | datasets.Dataset | Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
)
_FORMS = "a pandas DataFrame, a datasets.Dataset, a list of dicts or a dict of columns"


def load_rows(
    rows: Rows,
    text: str | Sequence[str],
    label: str,
    test: Rows | None = None,
    label_names: Sequence[str] | None = None,
    regression: bool | None = None,
    metric: str | None = None,
    *,
    positive: str | None = None,
    task: str = "custom",
    name: str = "rows",
) -> TaskData:
    """Make a task from rows in memory.

    The rules are those of :func:`agwm.data.load_files`: every row is used or refused, whole numbers and
    texts are classes, numbers with a fraction are scores. NaN, None and pandas' NA are missing values. A
    ``ClassLabel`` of a ``datasets.Dataset`` keeps its names and their order.

    Args:
        rows: Training examples: a pandas ``DataFrame``, a ``datasets.Dataset``, a list of dicts (one a row)
            or a dict of columns. They are not changed.
        text: Name of the column of texts, or of the two columns of pairs.
        label: Name of the column of labels.
        test: Test examples, with the same columns; None: there are none.
        label_names: Classes in index order. Labels are these names, or all are their indices.
        regression: True for scores, False for classes, None to tell from the labels.
        metric: Key of ``METRICS``; by default accuracy, or spearman for regression.
        positive: The class that f1 is of; None: the second.
        task: Name of the task.
        name: Name of the rows in messages and notes.

    Returns:
        The data with columns ``sentence1`` (``sentence2``) and ``label``. Without test rows the set of test
        examples has the same columns and no row.

    Raises:
        DataError: If the rows are of another type, or a column, text or label is missing or wrong; the
            message names the example, counted from 1.

    Example:
        >>> data = load_rows([{"mail": "It fails", "kind": "bug"}, {"mail": "Nice", "kind": "praise"}],
        ...                  text="mail", label="kind")
        >>> data.task.label_names, data.train["label"][:], len(data.test)
        (('bug', 'praise'), [0, 1], 0)
    """
    texts = as_names(text)
    check_options(texts, label, regression, label_names)
    sources = (name, "" if test is None else f"{name} (test)")
    given = [rows] if test is None else [rows, test]
    return assemble(
        [_table(part, source, [*texts, label]) for part, source in zip(given, sources, strict=False)],
        sources,
        texts,
        label,
        label_names=label_names,
        regression=regression,
        metric=metric,
        name=task,
        positive=positive,
        is_file=False,
    )


def _table(rows: Any, place: str, columns: Sequence[str]) -> Table:
    """Return the columns of rows in memory; the last is the label.

    Raises:
        DataError: If the rows are of another type, there is none, or a column is missing.
    """
    classes = None
    if isinstance(rows, pd.DataFrame):
        cells = _of_frame(rows, place, columns)
    elif isinstance(rows, datasets.Dataset):
        cells, classes = _of_dataset(rows, place, columns)
    elif isinstance(rows, (datasets.DatasetDict, datasets.IterableDataset, datasets.IterableDatasetDict)):
        raise DataError(
            f"{place} is a {type(rows).__name__}: expected {_FORMS}. Pass one of its splits, such as"
            " data['train']."
        )
    elif isinstance(rows, Mapping):
        cells = _of_columns(rows, place, columns)
    elif isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)):
        cells = _of_dicts(rows, place, columns)
    else:
        raise DataError(
            f"{place} is of the wrong type: expected {_FORMS}, got {type(rows).__name__}. Convert it."
        )
    if not cells[columns[0]]:
        raise DataError(f"{place} has no examples: expected one or more, got none. Pass rows.")
    return Table(place, cells, class_names=classes)


def _of_frame(rows: pd.DataFrame, place: str, columns: Sequence[str]) -> dict[str, list]:
    header = list(map(_name, rows.columns))
    return {name: _cells(rows.iloc[:, column_index(header, name, place)]) for name in columns}


def _of_dataset(
    rows: datasets.Dataset, place: str, columns: Sequence[str]
) -> tuple[dict[str, list], tuple[str, ...] | None]:
    for name in columns:
        column_index(rows.column_names, name, place)
    plain = rows.with_format(None)
    cells = {name: list(plain[name]) for name in columns}
    feature = rows.features[columns[-1]]
    if not isinstance(feature, datasets.ClassLabel):
        return cells, None
    names = tuple(feature.names)
    cells[columns[-1]] = [
        class_name(cell, names, f"{place} example {row}")
        for row, cell in enumerate(cells[columns[-1]], start=1)
    ]
    return cells, names


def _of_columns(rows: Mapping[Any, Any], place: str, columns: Sequence[str]) -> dict[str, list]:
    header, values = list(map(_name, rows)), list(rows.values())
    cells = {}
    for name in columns:
        column = values[column_index(header, name, place)]
        if isinstance(column, (str, bytes, Mapping)) or not isinstance(column, Iterable):
            raise DataError(
                f"Column {shown(name, 80)} of {place} is no column: expected a list of values, got"
                f" {type(column).__name__}. Pass a list for each column, or a list of dicts."
            )
        cells[name] = _cells(column)
    lengths = {name: len(column) for name, column in cells.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"Columns of {place} differ in length: expected one length, got {shown(lengths)}. Pass a value"
            " of each column for each row."
        )
    return cells


def _of_dicts(rows: Sequence[Any], place: str, columns: Sequence[str]) -> dict[str, list]:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise DataError(
                f"{place} example {number} is no dict: expected one with the names of the columns, got"
                f" {shown(row, 80)}. Pass {_FORMS}."
            )
        for name in columns:
            if name not in row:
                column_index(list(map(_name, row)), name, f"{place} example {number}")
    return {name: [_cell(row[name]) for row in rows] for name in columns}


def _name(column: object) -> str:
    return column if isinstance(column, str) else str(column)


def _cells(values: Iterable[Any]) -> list:
    return [_cell(value) for value in values]


def _cell(value: Any) -> Any:
    """Return a value as Python has it; what pandas says is missing becomes None."""
    if isinstance(value, (np.generic, Tensor)) and value.ndim == 0:
        value = value.item()
    return None if value is pd.NA or value is pd.NaT else value
