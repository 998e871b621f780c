"""A task together with its training and test examples."""

from __future__ import annotations

from dataclasses import dataclass

import datasets

from agwm.data.tasks import Task

__all__ = ["TaskData"]


@dataclass(frozen=True)
class TaskData:
    """A task and its two sets of examples.

    Attributes:
        task: The task, with its text columns, labels and metric.
        train: Training examples with ``task.text_columns`` and ``label``.
        test: Examples for the reported scores, with the same columns.
    """

    task: Task
    train: datasets.Dataset
    test: datasets.Dataset
