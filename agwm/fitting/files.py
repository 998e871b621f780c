"""From a file of rows to a model in use: what the command ``agwm fit`` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from agwm.data import load_files
from agwm.data.quiet import quiet_datasets
from agwm.errors import DataError, with_advice
from agwm.fitting.fit import fit_data
from agwm.fitting.result import FitResult
from agwm.model_selection.candidates import CONSTANT
from agwm.model_selection.conclusion import table_text
from agwm.model_selection.options import FitOptions
from agwm.model_selection.reporting.page import HTML

__all__ = ["fit_files"]

Say = Callable[[str], None]
# What load_files advises -> what the command line has for it.
_FLAGS = {
    "the name of the column": "--text or --label",
    "label_names or regression=True": "--regression for scores",
    "regression=True": "--regression",
    "regression=False": "--classes",
    "multi_label=True": "--multi-label",
}


def fit_files(
    train_file: str | Path,
    text: Sequence[str],
    label: Sequence[str],
    test_file: str | Path | None,
    output_dir: str | Path,
    options: FitOptions,
    *,
    encoding: str | None = None,
    separator: str | None = None,
    sheet: str | None = None,
    positive: str | None = None,
    multi_label: bool | None = None,
    regression: bool | None = None,
    report: Say = print,
    notice: Say = print,
) -> FitResult:
    """Choose a method for the rows of a file, train it on all of them, and print what came out.

    Args:
        train_file: Labelled rows: CSV, TSV, JSON, Parquet or Excel.
        text: One or two text columns.
        label: The label column, or several columns of 0 and 1.
        test_file: Labelled rows that are scored once, by the chosen model; None: there are none.
        output_dir: Folder for the model, the report and finished work.
        options: Options of the selection.
        encoding: Encoding of text files; None: UTF-8, or by the byte order mark.
        separator: Mark between the cells of CSV and TSV files; None: found by the header.
        sheet: Sheet of Excel files; None: the first.
        positive: The class that f1 is of; None: the second.
        multi_label: True: a row has any number of labels; None: told by several label columns, or lists.
        regression: True for scores, False for classes; None: told by the labels.
        report: Called with each line on results.
        notice: Called with each line on what was read and is about to run.

    Raises:
        AgwmError: If something is wrong with the files, the model or the options.
        DataError: If a file, a column, a text or a label is wrong.
    """
    columns = tuple(text), tuple(label)
    with quiet_datasets():
        try:
            data = load_files(
                train_file,
                test_file,
                list(text),
                label[0] if len(label) == 1 else list(label),
                regression=regression,
                metric=options.metric,
                encoding=encoding,
                separator=separator,
                sheet=sheet,
                positive=positive,
                multi_label=multi_label,
            )
        except DataError as error:
            raise DataError(with_advice(str(error), _FLAGS)) from None
    result = fit_data(data, columns, options, output_dir, notice=notice, report=report)
    record = result.record
    report(f"\n{table_text(record.table, record.metric)}\n\n{record.conclusion}")
    if record.test is not None:
        test, row = record.test, next(row for row in record.table if row.verdict == "chosen")
        held = row.low is not None and row.high is not None and row.low <= test.score <= row.high
        where = "inside" if held else "outside"
        report(
            f"On {test.source}, scored once: {record.metric} {test.score:.3f}"
            f" [{test.low:.3f}, {test.high:.3f}], {where} of the interval of the cross-validation."
        )
    folder = Path(output_dir)
    if result.best != CONSTANT:
        report(f"Model: {folder}")
    report(f"Report: {folder / HTML}")
    return result
