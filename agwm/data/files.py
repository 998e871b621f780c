"""Make a task from the user's own files: CSV, TSV, JSON (lines or array) and Parquet."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import datasets

from agwm.data._infer import RawLabel, convert_labels, infer_labels
from agwm.data.quiet import quiet_datasets
from agwm.data.task_data import TaskData
from agwm.data.tasks import Task
from agwm.data.tsv import column_index, read_tsv
from agwm.errors import DataError, close_names

__all__ = ["load_files"]

_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
}


def _check_path(path: Path) -> str:
    if path.suffix.lower() not in _FORMATS:
        raise DataError(
            f"Unknown kind of file {path}: expected a name ending in {', '.join(_FORMATS)}, got "
            f"{path.suffix!r}."
        )
    if not path.is_file():
        raise DataError(f"Data file missing: expected a file at {path}. Check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty: expected one example per row. Check the file.")
    return _FORMATS[path.suffix.lower()]


def _read_csv_header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = next(rows)
            has_rows = next(rows, None) is not None
    except (UnicodeDecodeError, csv.Error, StopIteration) as error:
        raise DataError(f"Cannot read the header of {path}: {error}. Save it as UTF-8.") from None
    for name in header:
        column_index(header, name, path)
    if not has_rows:
        raise DataError(f"{path} has a header but no examples: expected one per row. Check the file.")
    return header


def _read_with_datasets(path: Path, kind: str) -> datasets.Dataset:
    options: dict[str, object] = {}
    if kind == "csv":
        # Every column is read as text, so that "NA" and "007" stay unchanged.
        header = _read_csv_header(path)
        options["features"] = datasets.Features({name: datasets.Value("string") for name in header})
        options |= {"keep_default_na": False, "encoding": "utf-8-sig", "on_bad_lines": "error"}
    with tempfile.TemporaryDirectory() as cache, quiet_datasets():
        try:
            return datasets.load_dataset(
                kind,
                data_files=str(path),
                split="train",
                cache_dir=cache,
                keep_in_memory=True,
                **options,
            )
        except Exception as error:  # readers raise many unrelated classes
            cause = error.__cause__ or error
            reason = " ".join(str(cause).split())[:160] or type(cause).__name__
            raise DataError(f"Cannot read {path} as {kind}: {reason}.") from None


def _columns(path: Path, names: Sequence[str]) -> dict[str, list[RawLabel]]:
    """Read the named columns of a file; row numbers in messages count examples from 1.

    Raises:
        DataError: If a column is missing, a line has another number of columns, or there is no row.
    """
    kind = _check_path(path)
    if kind == "tsv":
        (_, header), *rows = read_tsv(path)
        places = [column_index(header, name, path) for name in names]
        for number, cells in rows:
            if len(cells) != len(header):
                raise DataError(
                    f"Wrong number of columns in {path} line {number}: expected {len(header)}, "
                    f"got {len(cells)}. Quotes do not protect tabs in a .tsv; save it as .csv."
                )
        found: dict[str, list[RawLabel]] = {
            name: [cells[place] for _, cells in rows] for name, place in zip(names, places, strict=True)
        }
    else:
        data = _read_with_datasets(path, kind)
        for name in names:
            if name not in data.column_names:
                raise DataError(
                    f"{path} lacks column {name!r}: expected it among its columns, got "
                    f"{', '.join(data.column_names[:12])}.{close_names(name, data.column_names)}"
                )
        found = {name: list(data[name]) for name in names}
    if not found[names[0]]:
        raise DataError(f"{path} has no examples: expected one per row. Check the file.")
    return found


def _check_texts(path: Path, name: str, texts: Sequence[RawLabel]) -> None:
    for row, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise DataError(
                f"No text in {path} example {row}, column {name!r}: expected a string, got {text!r}."
            )


def load_files(
    train_file: str | Path,
    test_file: str | Path,
    text_columns: Sequence[str],
    label_column: str,
    label_names: Sequence[str] | None = None,
    regression: bool | None = None,
    metric: str | None = None,
    name: str = "custom",
) -> TaskData:
    """Make a task from the user's own files.

    The ending of the name decides how a file is read: ``.csv`` with quotes, ``.tsv`` without
    (as GLUE), ``.json`` / ``.jsonl`` as lines or an array of objects, ``.parquet``. Files are
    read into memory; nothing is cached.

    Unless you state the kind of labels, the training file decides it. Whole numbers and texts
    are classes, in sorted order. Numbers with a fraction are scores (regression).

    Args:
        train_file: Training examples.
        test_file: Test examples, with the same columns.
        text_columns: One or two columns of text.
        label_column: Name of the column that holds the labels.
        label_names: Classes in index order. Labels in the file are these names or their indices.
        regression: True for scores, False for classes, None to tell from the labels.
        metric: Key of ``METRICS``; by default accuracy, or spearman for regression.
        name: Name of the task.

    Returns:
        The data with columns ``sentence1`` (``sentence2``) and ``label``.

    Raises:
        DataError: If a file, column, text or label is missing or wrong, or options contradict
            each other; the message names file and example.
    """
    text_columns = [text_columns] if isinstance(text_columns, str) else list(text_columns)
    if len(text_columns) not in (1, 2):
        raise DataError(
            f"Wrong number of text columns: expected 1 or 2, got {len(text_columns)} "
            f"({', '.join(map(repr, text_columns[:5]))})."
        )
    wanted = [*text_columns, label_column]
    if len(set(wanted)) < len(wanted):
        raise DataError(f"A column is named twice: expected different ones, got {wanted!r}.")
    if regression and label_names is not None:
        raise DataError("Regression has no classes: expected no label_names, or regression=False.")
    paths = [Path(train_file), Path(test_file)]
    tables = [_columns(path, wanted) for path in paths]
    names = infer_labels(tables[0][label_column], paths[0], label_names, regression)
    default = "spearman" if names is None else "accuracy"
    task = Task(name, ("sentence1", "sentence2")[: len(text_columns)], names, metric or default)
    parts = []
    for path, table, part in zip(paths, tables, ("train", "test"), strict=True):
        data: dict[str, list] = {}
        for canonical, column in zip(task.text_columns, text_columns, strict=True):
            _check_texts(path, column, table[column])
            data[canonical] = table[column]
        hint = "" if part == "train" or label_names else " The classes are those of the train file."
        data["label"] = convert_labels(table[label_column], path, names, hint)
        parts.append(datasets.Dataset.from_dict(data))
    return TaskData(task, *parts)
