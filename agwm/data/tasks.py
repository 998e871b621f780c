"""The tasks, with their text columns, labels and metrics."""

from __future__ import annotations

from dataclasses import dataclass

from agwm.data.metrics import METRICS
from agwm.errors import DataError, close_names, shown

__all__ = ["EMBEDDED_TASKS", "GLUE_TASKS", "TASKS", "Task", "get_task"]

_SINGLE = ("sentence1",)
_PAIR = ("sentence1", "sentence2")
_TEXT_COLUMNS = (_SINGLE, _PAIR)
_KINDS = {
    "single_label_classification": "classification",
    "multi_label_classification": "several labels an example",
    "regression": "regression",
}


@dataclass(frozen=True)
class Task:
    """A classification or regression task on one text or a pair of texts.

    Attributes:
        name: Lower-case name.
        text_columns: ``("sentence1",)`` or ``("sentence1", "sentence2")``.
        label_names: Names of the classes in index order; None for regression. With several labels an
            example: the names of all labels; one is enough.
        metric: A key of ``agwm.data.metrics.METRICS``.
        positive: The class that f1 is of; None: the second, and for other metrics.
        multi_label: True if an example has any number of the labels, also none.

    Raises:
        DataError: If the fields do not fit together.
    """

    name: str
    text_columns: tuple[str, ...]
    label_names: tuple[str, ...] | None
    metric: str = "accuracy"
    positive: str | None = None
    multi_label: bool = False

    def __post_init__(self) -> None:
        """Raise unless the fields fit together.

        Raises:
            DataError: If the fields do not fit together.
        """
        if tuple(self.text_columns) not in _TEXT_COLUMNS:
            raise DataError(
                f"Task {self.name!r} has wrong text columns: expected ('sentence1',) or "
                f"('sentence1', 'sentence2'), got {self.text_columns!r}."
            )
        if self.multi_label and self.label_names is None:
            raise DataError(
                f"Task {self.name!r} has no label names: expected those of its labels for multi_label, got"
                " none. Name them, or set multi_label=False."
            )
        fewest = 1 if self.multi_label else 2
        if self.label_names is not None and (
            len(self.label_names) < fewest or len(set(self.label_names)) < len(self.label_names)
        ):
            raise DataError(
                f"Task {self.name!r} has wrong label names: expected {'one' if fewest == 1 else 'two'} or"
                f" more different ones, got {shown(self.label_names)}."
            )
        if self.metric not in METRICS:
            raise DataError(
                f"Task {self.name!r} has an unknown metric: expected one of "
                f"{', '.join(METRICS)}, got {self.metric!r}.{close_names(self.metric, METRICS)}"
            )
        if self.problem_type not in METRICS[self.metric].problem_types:
            fitting = [name for name, one in METRICS.items() if self.problem_type in one.problem_types]
            raise DataError(
                f"Metric {self.metric!r} does not fit task {self.name!r}: expected one of "
                f"{', '.join(fitting)} for {_KINDS[self.problem_type]}."
            )
        if self.metric == "f1" and self.num_labels != 2:
            raise DataError(
                f"Metric 'f1' does not fit task {self.name!r}: expected 2 classes, "
                f"got {self.num_labels}. Use macro_f1 or accuracy."
            )
        if self.positive is not None and self.metric != "f1":
            raise DataError(
                f"Task {self.name!r} has a positive class for metric {self.metric!r}: expected metric 'f1',"
                f" or no positive class, got {shown(self.positive, 80)}."
            )
        if self.positive is not None and self.positive not in (self.label_names or ()):
            known = ", ".join(shown(name, 40) for name in self.label_names or ())
            raise DataError(
                f"Task {self.name!r} has a wrong positive class: expected one of {known}, got"
                f" {shown(self.positive, 80)}.{close_names(str(self.positive), self.label_names or ())}"
            )

    @property
    def positive_class(self) -> str | None:
        """Name of the class that f1 is of; None for other metrics."""
        if self.metric != "f1" or self.label_names is None:
            return None
        return self.label_names[self.positive_index]

    @property
    def positive_index(self) -> int:
        """Index of the class that f1 is of."""
        if self.positive is None or self.label_names is None:
            return 1
        return self.label_names.index(self.positive)

    @property
    def is_regression(self) -> bool:
        """True if the label is a number, not a class."""
        return self.label_names is None

    @property
    def problem_type(self) -> str:
        """Kind of the task, as ``config.problem_type`` of transformers names it."""
        if self.is_regression:
            return "regression"
        return "multi_label_classification" if self.multi_label else "single_label_classification"

    @property
    def num_labels(self) -> int:
        """Number of model outputs: the classes or labels, or 1 for regression."""
        return 1 if self.label_names is None else len(self.label_names)

    @property
    def is_pair(self) -> bool:
        """True if an example has two texts."""
        return len(self.text_columns) == 2


_ENTAILMENT = ("entailment", "not_entailment")

_ALL = (
    Task("cola", _SINGLE, ("unacceptable", "acceptable"), "matthews"),
    Task("mrpc", _PAIR, ("not_equivalent", "equivalent"), "f1"),
    Task("stsb", _PAIR, None, "spearman"),
    Task("rte", _PAIR, _ENTAILMENT),
    Task("sst2", _SINGLE, ("negative", "positive")),
    Task("qnli", _PAIR, _ENTAILMENT),
    Task("qqp", _PAIR, ("not_duplicate", "duplicate")),
    Task("mnli", _PAIR, ("entailment", "neutral", "contradiction")),
    Task("acceptability", _SINGLE, ("unacceptable", "acceptable"), "matthews"),
    Task("paraphrase", _PAIR, ("not_paraphrase", "paraphrase"), "f1"),
    Task("entailment", _PAIR, _ENTAILMENT),
    Task("similarity", _PAIR, None, "spearman"),
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}
"""Every task by name. The metrics are those of the paper: F1 for MRPC, accuracy for QQP."""
GLUE_TASKS: tuple[str, ...] = tuple(TASKS)[:8]
EMBEDDED_TASKS: tuple[str, ...] = tuple(TASKS)[8:]


def get_task(name: str) -> Task:
    """Return the task of a name. Case, hyphens, underscores and spaces do not matter.

    Args:
        name: For example ``"rte"``, ``"STS-B"`` or ``"sst-2"``.

    Returns:
        The task.

    Raises:
        DataError: If there is no such task; the message shows close names.

    Example:
        >>> get_task("STS-B").metric
        'spearman'
    """
    key = "".join(c for c in name.lower() if c not in "-_ ")
    if key not in TASKS:
        raise DataError(
            f"Unknown task {name!r}: expected one of {', '.join(TASKS)}.{close_names(key, TASKS)}"
        )
    return TASKS[key]
