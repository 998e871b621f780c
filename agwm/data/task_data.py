"""A task together with its training and test examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import datasets

from agwm.data.file_bytes import file_place
from agwm.data.tasks import Task

__all__ = ["TaskData", "source_names"]


@dataclass(frozen=True)
class TaskData:
    """A task and its two sets of examples.

    Attributes:
        task: The task, with its text columns, labels and metric.
        train: Training examples with ``task.text_columns`` and ``label``.
        test: Examples for the reported scores, with the same columns; none where there is no test set.
        notes: What the reader found, chose, dropped or converted; a short line each.
        sources: Names of the training and of the test examples: of their files, as the user wrote them.
            The second is empty where there is no test set.
    """

    task: Task
    train: datasets.Dataset
    test: datasets.Dataset
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    sources: tuple[str, str] = field(default=("train", "test"), kw_only=True)


def source_names(train: str | Path, test: str | Path | None) -> tuple[str, str]:
    """Return the last parts of two paths, or the paths as they are where the last parts are equal.

    Without a test set its name is empty.

    Example:
        >>> source_names("data/train.csv", "data/test.csv"), source_names("a/x.csv", "b/x.csv")
        (('train.csv', 'test.csv'), ('a/x.csv', 'b/x.csv'))
    """
    if test is None:
        return file_place(Path(train).name), ""
    names = (Path(train).name, Path(test).name)
    names = names if names[0] != names[1] else (str(train), str(test))
    return file_place(names[0]), file_place(names[1])
