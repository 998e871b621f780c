"""A task with its data."""

from __future__ import annotations

from dataclasses import dataclass

import datasets

from agwm.data.tasks import Task

__all__ = ["TaskData"]


@dataclass(frozen=True)
class TaskData:
    """A task and its two sets of examples.

    Attributes:
        task: What the task is.
        train: Training examples with ``task.text_columns`` and ``label``.
        test: Examples that scores are reported on, with the same columns.
    """

    task: Task
    train: datasets.Dataset
    test: datasets.Dataset
