"""Predict the rows of a file, or lines of standard input, with a saved model, and write a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from agwm.data.assembly import as_names
from agwm.data.tables import counted
from agwm.data.unlabelled import Unlabelled, read_unlabelled
from agwm.errors import shown
from agwm.prediction.columns import prediction_frame
from agwm.prediction.predictor import load_predictor
from agwm.prediction.tables import ready_to_write, write_table

__all__ = ["predict_files"]


def predict_files(
    folder: str | Path,
    file: str | Path | None = None,
    text: str | Sequence[str] | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    encoding: str | None = None,
    separator: str | None = None,
    sheet: str | None = None,
    trust_remote_code: bool = False,
) -> None:
    """Predict the rows of a file with a saved model, and write them with labels and probabilities.

    Every row of the input is a row of the output, in its order and with all its columns. Lines on standard
    error say what was read, taken and cut.

    Args:
        folder: Folder of the model.
        file: CSV, TSV, JSON, Parquet or Excel file; None: standard input, one text a line, a pair with a
            tab between.
        text: Names of the columns of texts; None: those that the model was trained on.
        out: File to write, ending in .csv, .tsv, .json, .jsonl or .parquet; None: CSV on standard output.
        device: ``"auto"``, or a name that PyTorch knows.
        encoding: Encoding of text files and of standard input; None: UTF-8, or by the byte order mark.
        separator: Mark between the cells of CSV and TSV files; None: found by the header.
        sheet: Sheet of Excel files; None: the first.
        trust_remote_code: True to run code that lies in the folder.

    Raises:
        ModelError: If the folder holds no finetuned model, or a part of it is missing or damaged.
        DataError: If the input, a column or a text is missing or wrong, or the output cannot be written.
        ConfigError: If PyTorch cannot use the device.
        MissingExtraError: If the file is of Excel, and openpyxl is not installed.
    """
    with nullcontext() if out is None else ready_to_write(out, file):
        predictor = load_predictor(folder, device, trust_remote_code)
        for note in predictor.notes:
            _say(f"model: {note}")
        names = list(predictor.task.text_columns) if predictor.task is not None else []
        stdin = None if file is not None else sys.stdin.buffer
        if stdin is not None and stdin.isatty():
            _say("Reading standard input, one text a line; Ctrl-D ends it.")
        wanted = None if text is None else as_names(text)
        read = read_unlabelled(file, wanted, encoding, separator, sheet, stdin, expected=names)
        _say(f"{read.file}: {_what_was_read(read)}")
        for note in read.notes:
            _say(f"{read.file}: {note}")
        found = predictor.predict(read.texts)
        for note in found.notes:
            _say(f"{read.file}: {note}")
        frame, notes = prediction_frame(_given(read, names), found)
        for note in notes:
            _say(f"{read.file}: {note}")
        write_table(frame, out)
        if out is not None:
            _say(f"Wrote {counted(len(frame), 'row')} to {out}.")


def _what_was_read(read: Unlabelled) -> str:
    count = counted(len(read.texts), "text" if len(read.texts[0]) == 1 else "pair")
    names = " and ".join(shown(name, 40) for name in read.text_columns)
    if not names:
        return count
    return f"{count} in column{'' if len(read.text_columns) == 1 else 's'} {names}"


def _given(read: Unlabelled, names: Sequence[str]) -> dict[str, list]:
    """Return the columns of the input; lines of standard input get the names of the model's columns."""
    if read.table is not None:
        return read.table
    count = len(read.texts[0])
    used = list(names) if len(names) == count else ["text", "text_pair"][:count]
    return {name: [row[place] for row in read.texts] for place, name in enumerate(used)}


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
