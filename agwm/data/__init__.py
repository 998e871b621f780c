"""Tasks and their data: loading, sampling and encoding."""

from __future__ import annotations

from agwm.data.embedded.rows import embedded_rows
from agwm.data.encoding import DynamicPadding, check_known, count_cut, count_unknown, encode, token_lengths
from agwm.data.files import load_files
from agwm.data.loading import load_task
from agwm.data.rows import load_rows
from agwm.data.sampling import check_disjoint, sample_low_resource, split_train
from agwm.data.task_data import TaskData
from agwm.data.tasks import EMBEDDED_TASKS, GLUE_TASKS, TASKS, Task, get_task

__all__ = [
    "EMBEDDED_TASKS",
    "GLUE_TASKS",
    "TASKS",
    "DynamicPadding",
    "Task",
    "TaskData",
    "check_disjoint",
    "check_known",
    "count_cut",
    "count_unknown",
    "embedded_rows",
    "encode",
    "get_task",
    "load_files",
    "load_rows",
    "load_task",
    "sample_low_resource",
    "split_train",
    "token_lengths",
]
