"""Make a task from the user's own files: CSV, TSV, JSON, Parquet and Excel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agwm.data.assembly import as_names, assemble, check_options
from agwm.data.table_files import read_tables
from agwm.data.task_data import TaskData, source_names

__all__ = ["load_files"]


def load_files(
    train_file: str | Path,
    test_file: str | Path | None = None,
    text_columns: str | Sequence[str] = "text",
    label_column: str = "label",
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
        test_file: Test examples, with the same columns; None: there are none.
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
        The data with columns ``sentence1`` (``sentence2``) and ``label``. Without a test file the set of
        test examples has the same columns and no row.

    Raises:
        DataError: If a file, column, text or label is missing or wrong, or options contradict
            each other; the message names file and example.
        MissingExtraError: If a file is of Excel, and openpyxl is not installed.
    """
    text_columns = as_names(text_columns)
    check_options(text_columns, label_column, regression, label_names)
    wanted = [*text_columns, label_column]
    paths = [Path(train_file)] if test_file is None else [Path(train_file), Path(test_file)]
    tables = read_tables(paths, wanted, encoding, separator, sheet)
    sources = source_names(train_file, test_file)
    return assemble(
        tables,
        sources,
        text_columns,
        label_column,
        label_names=label_names,
        regression=regression,
        metric=metric,
        name=name,
        positive=positive,
    )
