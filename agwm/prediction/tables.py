"""Write a table of predictions: CSV, TSV, JSON, JSON lines or Parquet, by the ending of its name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from agwm.errors import DataError, border, close_names, shown
from agwm.files import made_folders, write_whole

__all__ = ["ready_to_write", "write_table"]

_SHARED = {"index": False, "compression": None, "encoding": "utf-8", "lineterminator": "\n"}


def _csv(frame: pd.DataFrame, path: str | None = None, mark: str = ",") -> str | None:
    return frame.to_csv(path, sep=mark, **_SHARED)


def _json(frame: pd.DataFrame, path: str, lines: bool) -> None:
    frame.to_json(
        path,
        orient="records",
        lines=lines,
        force_ascii=False,
        double_precision=15,
        date_format="iso",
        indent=None if lines else 1,
        default_handler=str,
        compression=None,
    )


_WRITERS: dict[str, Callable[[pd.DataFrame, str], object]] = {
    ".csv": _csv,
    ".tsv": lambda frame, path: _csv(frame, path, "\t"),
    ".json": lambda frame, path: _json(frame, path, False),
    ".jsonl": lambda frame, path: _json(frame, path, True),
    ".ndjson": lambda frame, path: _json(frame, path, True),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
}


@contextmanager
def ready_to_write(out: str | Path, source: str | Path | None) -> Iterator[None]:
    """Raise unless a table can be written to a file: before the work, which is the body, not after it.

    Args:
        out: The file to write; its folder is made, and stays if the body ends.
        source: The file that is read; None: standard input.

    Raises:
        DataError: If its ending is unknown, it is the file that is read, a folder, or cannot be written.
    """
    path = Path(out)
    ending = path.suffix.lower()
    if ending not in _WRITERS:
        raise DataError(
            f"Unknown kind of file {shown(path)} to write: expected a name ending in {', '.join(_WRITERS)},"
            f" got {shown(path.suffix)}.{close_names(ending, _WRITERS)} Correct -o."
        )
    with border(path, "a name that a file can have", "Correct -o.", problem="Cannot write"):
        if path.is_dir():
            raise DataError(f"{shown(path)} is a folder: expected a file to write. Correct -o.")
        is_there = path.exists()
    if source is not None and is_there and os.path.exists(source) and path.samefile(source):
        raise DataError(
            f"{shown(path)} is the file that is read: expected another one to write, got it. Correct -o."
        )
    with made_folders(path.parent):
        yield


def write_table(frame: pd.DataFrame, out: str | Path | None) -> None:
    """Write a table to a file, whole; or as CSV to standard output.

    Args:
        frame: The table.
        out: The file; None: standard output.

    Raises:
        DataError: If the file cannot be written; an older one is then as it was.
    """
    if out is not None:
        writer = _WRITERS[Path(out).suffix.lower()]
        write_whole(out, lambda temporary: writer(frame, temporary))
        return
    text = _csv(frame) or ""
    with border("the table", "whole letters", "Correct the input.", problem="Cannot write"):
        data = text.encode()  # UTF-8 also where the terminal's own encoding lacks letters
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        sys.stdout.write(text)
        return
    sys.stdout.flush()
    stream.write(data)
    stream.flush()
