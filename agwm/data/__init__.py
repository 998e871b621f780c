"""Tasks and their data: loading, sampling and encoding.

Public names are imported when they are first used: the embedded rows need neither PyTorch nor transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agwm.late_names import late_names

if TYPE_CHECKING:
    from agwm.data.embedded.rows import embedded_rows
    from agwm.data.encoding import (
        DynamicPadding,
        check_known,
        count_cut,
        count_unknown,
        encode,
        token_lengths,
    )
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

# Module -> the public names in it; the imports above tell the same to tools that read the source.
_LATE: dict[str, tuple[str, ...]] = {
    "agwm.data.embedded.rows": ("embedded_rows",),
    "agwm.data.encoding": (
        "DynamicPadding",
        "check_known",
        "count_cut",
        "count_unknown",
        "encode",
        "token_lengths",
    ),
    "agwm.data.files": ("load_files",),
    "agwm.data.loading": ("load_task",),
    "agwm.data.rows": ("load_rows",),
    "agwm.data.sampling": ("check_disjoint", "sample_low_resource", "split_train"),
    "agwm.data.task_data": ("TaskData",),
    "agwm.data.tasks": ("EMBEDDED_TASKS", "GLUE_TASKS", "TASKS", "Task", "get_task"),
}
__getattr__, __dir__ = late_names(globals(), _LATE)
