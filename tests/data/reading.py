"""Write a file, read it as training and test file, and show the rows with their classes by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agwm.data import TaskData, load_files
from agwm.errors import DataError


def write(path: Path, body: str | bytes) -> Path:
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return path


def read(path: Path, body: str | bytes, **options: object) -> TaskData:
    write(path, body)
    return load_files(path, path, **{"text_columns": ["text"], "label_column": "label", **options})


def rows(data: TaskData, part: str = "train") -> list[tuple]:
    names, examples = data.task.label_names, getattr(data, part)
    labels = [names[at] if names else at for at in examples["label"]]
    return list(zip(examples["sentence1"], labels, strict=True))


def notes(data: TaskData) -> str:
    """Return the notes without the names of the files."""
    return "; ".join(note.rpartition("/")[2].partition(": ")[2] for note in data.notes)


def refused(path: Path, body: str | bytes, message: str, **options: object) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(path, body, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
