"""Load a task by its name, from GLUE files, the hub, or the package itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import datasets

from agwm.data._texts import empty_texts_note
from agwm.data.embedded.rows import embedded_rows
from agwm.data.glue import glue_files, load_glue_hub, load_glue_tsv
from agwm.data.task_data import TaskData
from agwm.data.tasks import EMBEDDED_TASKS, GLUE_TASKS, TASKS, Task, get_task
from agwm.errors import DataError

__all__ = ["load_task"]


def _embedded_dataset(task: Task, rows: Sequence[tuple[tuple[str, ...], float]]) -> datasets.Dataset:
    columns: dict[str, list] = {
        name: [texts[place] for texts, _ in rows] for place, name in enumerate(task.text_columns)
    }
    columns["label"] = [label if task.is_regression else int(label) for _, label in rows]
    return datasets.Dataset.from_dict(columns)


def load_task(
    task: str | Task,
    data_dir: str | Path | None = None,
    *,
    train_size: int = 2000,
    test_size: int = 500,
    data_seed: int = 0,
) -> TaskData:
    """Load a task: embedded, GLUE from a folder, or GLUE from the hub.

    The package itself writes the embedded tasks, without file or network. For GLUE tasks
    ``test`` is the validation set (matched, for MNLI), because only its labels are public.

    Args:
        task: A task, or a name that ``get_task`` accepts.
        data_dir: Folder of the official GLUE download; None for the hub or embedded data.
        train_size: Number of training examples of an embedded task.
        test_size: Number of test examples of an embedded task.
        data_seed: Seed of an embedded task.

    Returns:
        The task and its data.

    Raises:
        DataError: If the task is unknown, or its data is missing or wrong.

    Example:
        >>> load_task("acceptability").train.column_names
        ['sentence1', 'label']
    """
    task = get_task(task) if isinstance(task, str) else task
    if TASKS.get(task.name) != task:
        raise DataError(
            f"Task {task.name!r} is not one of the built-in ones: expected one of "
            f"{', '.join(TASKS)}. Use load_files for files of your own."
        )
    if task.name in GLUE_TASKS:
        if data_dir is None:
            return _told(
                task, load_glue_hub(task), (f"glue/{task.name} (train)", f"glue/{task.name} (validation)")
            )
        parts = load_glue_tsv(task, data_dir)
        names = ["/".join(path.parts[-2:]) for path in glue_files(task, data_dir)]
        return _told(task, parts, (names[0], names[1]))
    if data_dir is not None:
        raise DataError(
            f"Task {task.name!r} is embedded: expected no data folder, got {data_dir}. "
            f"Leave it out, or choose a GLUE task; embedded are {', '.join(EMBEDDED_TASKS)}."
        )
    train, test = embedded_rows(task.name, train_size, test_size, data_seed)
    parts = (_embedded_dataset(task, train), _embedded_dataset(task, test))
    return TaskData(task, *parts, sources=(f"{task.name} (train)", f"{task.name} (test)"))


def _told(
    task: Task, parts: tuple[datasets.Dataset, datasets.Dataset], sources: tuple[str, str]
) -> TaskData:
    """Return the data with notes on empty texts."""
    found = [
        (source, empty_texts_note(list(part[name]), name if task.is_pair else None))
        for source, part in zip(sources, parts, strict=True)
        for name in task.text_columns
    ]
    notes = tuple(f"{source}: {note}" for source, note in found if note is not None)
    return TaskData(task, *parts, notes=notes, sources=sources)
