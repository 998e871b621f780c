"""The task of a saved model, in ``agwm_task.json`` of its folder: its columns, classes and cut length."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agwm._version import __version__
from agwm.checks import Count, annotations_of, check_value
from agwm.errors import AgwmError, ConfigError, ModelError, close_names, shown
from agwm.files import read_json, write_json

__all__ = ["TASK_FILE", "ProblemType", "SavedTask", "read_task_file", "write_task_file"]

TASK_FILE = "agwm_task.json"
ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]


@dataclass(frozen=True)
class SavedTask:
    """The task that a model was trained for.

    Attributes:
        text_columns: Names of the columns of the texts, one or two, as the user has them.
        label_columns: Names of the label columns, as the user has them.
        label_names: Classes in index order; None for regression.
        problem_type: Kind of the labels, as transformers calls it.
        max_length: Number of tokens at which texts were cut.
        metric: Name of the metric by which the model was chosen.
        positive: The class that f1 is of; None: the second, and for other metrics.
        method: Name of the method that trained the model.
        agwm_version: Version of agwm that wrote the file.

    Raises:
        ConfigError: If a field is of the wrong type, or fields contradict each other.
    """

    text_columns: list[str]
    label_columns: list[str]
    label_names: list[str] | None
    problem_type: ProblemType
    max_length: Count
    metric: str
    positive: str | None = None
    method: str | None = None
    agwm_version: str = __version__

    def __post_init__(self) -> None:
        """Raise unless the fields are of their types and fit together.

        Raises:
            ConfigError: If they are not.
        """
        _check(dataclasses.asdict(self), ConfigError)


def write_task_file(folder: str | Path, saved: SavedTask) -> None:
    """Write the task of a model into its folder.

    Args:
        folder: An existing folder.
        saved: The task.

    Raises:
        DataError: If the file cannot be written.
    """
    write_json(Path(folder) / TASK_FILE, dataclasses.asdict(saved))


def read_task_file(folder: str | Path) -> SavedTask | None:
    """Read the task of a model from its folder.

    Args:
        folder: The folder of the model.

    Returns:
        The task; None if the folder has no such file, as a plain one of Hugging Face.

    Raises:
        ModelError: If the file is damaged, or has other keys or values than :func:`write_task_file` writes.
    """
    path = Path(folder) / TASK_FILE
    if not os.path.exists(path):  # pathlib raises where a name is too long
        return None
    remedy = "Save the model again, or remove the file: the model is then read without it."
    values = read_json(path, "the task of a saved model", remedy, error=ModelError)
    kinds = annotations_of(SavedTask)
    if not isinstance(values, dict) or set(values) != set(kinds):
        keys = list(values) if isinstance(values, dict) else []
        other = [key for key in keys if key not in kinds]
        got = f"also {shown(other[0], 80)}" if other else "fewer" if keys else "no object"
        close = close_names(other[0], kinds) if other else ""
        raise ModelError(
            f"Cannot read {shown(path)}: expected the keys {', '.join(kinds)}, got {got}.{close} {remedy}"
        )
    _check(values, ModelError)
    return SavedTask(**values)


def _check(values: dict[str, Any], error: type[AgwmError]) -> None:
    """Raise unless the values of a task's file are of their types and fit together.

    Raises:
        AgwmError: If they are not; of the class ``error``.
    """
    for key, kind in annotations_of(SavedTask).items():
        check_value(f"{key} of {TASK_FILE}", kind, values[key], error=error)
    texts, labels, names = values["text_columns"], values["label_columns"], values["label_names"]
    kind = values["problem_type"]
    fewest = {"single_label_classification": 2, "multi_label_classification": 1}.get(kind, 0)
    wrong = ""
    if len(texts) not in (1, 2) or len(set(texts)) < len(texts):
        wrong = f"one or two different text_columns, got {shown(texts)}"
    elif not labels:
        wrong = "one or more label_columns, got none"
    elif (names is None) != (kind == "regression"):
        wrong = f"label_names for classes alone, got {shown(names)} for {kind}"
    elif names is not None and (len(set(names)) < len(names) or len(names) < fewest):
        wrong = f"{fewest} or more different label_names, got {shown(names)}"
    if wrong:
        raise error(f"The task of a saved model contradicts itself: expected {wrong}. Correct {TASK_FILE}.")
