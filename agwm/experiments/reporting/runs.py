"""Runs read back from their records, strictly: what tables, tests and pictures are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agwm.errors import DataError
from agwm.experiments.record_form import check_record, read_record
from agwm.experiments.records import FOLDER, changed_settings
from agwm.experiments.yaml_files import flat_settings
from agwm.methods import METHODS

__all__ = ["StoredRun", "check_runs", "check_settings", "labels_of", "load_runs", "run_of", "tables_of"]

Record = Mapping[str, Any]
# What has to be the same for all methods of one task, or their scores do not compare.
_SHARED = ("model", "model_files", "stratified", "max_length", "test_limit", "data")


@dataclass(frozen=True)
class StoredRun:
    """One run.

    Attributes:
        label: Name of the method's variant; that of the method where the record has no ``label``.
        method: Name of the method.
        task: Name of the task.
        model: Name of the model.
        train_size: Number of training examples.
        seed: Its seed.
        metric: What the score is.
        score: On the test set, as a fraction; None: the run failed, or only its dev set was scored.
        dev: On the dev set, as a fraction; None: the run failed, or has no dev set.
        is_degenerate: Whether the score is no better than the best constant answer.
        passes: Forward and backward passes of a batch in training.
        seconds: Time of training.
        record: The record itself.
        source: Where it was read from.
    """

    label: str
    method: str
    task: str
    model: str
    train_size: int
    seed: int
    metric: str
    score: float | None
    dev: float | None
    is_degenerate: bool
    passes: float
    seconds: float
    record: Record
    source: str

    @property
    def failure(self) -> str | None:
        """Why the run failed; None: it did not."""
        return self.record["train_info"]["failure"]

    @property
    def alpha(self) -> Mapping[str, Mapping[str, float]]:
        """Name of a mixed weight -> numbers on its alpha; empty without mixing."""
        return self.record["train_info"]["alpha"]

    @property
    def has_own_alpha(self) -> bool:
        """Whether it mixed by a method that learns alpha, if its learning rate lets it."""
        return METHODS[self.method].learns_alpha and bool(self.alpha)

    @property
    def learns_alpha(self) -> bool:
        """Whether alpha moved from where it was drawn: not with a learning rate of 0."""
        own = self.settings.get("rivals", {}).get(self.method) or self.settings.get("search", {})
        return self.has_own_alpha and own.get("attention_learning_rate") != 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that decided the run."""
        return self.record["run_info"]["settings"]


def run_of(record: Record, source: str | None = None) -> StoredRun:
    """Read one record.

    Args:
        record: What a run wrote.
        source: Its file, for messages; None: described by what was run.

    Raises:
        DataError: If something is missing or of the wrong kind.
    """
    check_record(record, source or "a record")
    info, train, scores = record["run_info"], record["train_info"], record["scores"]
    label = info.get("label", info["method"])
    return StoredRun(
        label=label,
        method=info["method"],
        task=info["task"],
        model=info["model"],
        train_size=info["train_size"],
        seed=info["seed"],
        metric=scores["metric"],
        score=scores["test"],
        dev=scores["dev"],
        is_degenerate=scores["is_degenerate"],
        passes=train["passes"],
        seconds=train["total_seconds"],
        record=record,
        source=source or f"record of {label}, {info['task']}, seed {info['seed']}",
    )


def load_runs(folders: Iterable[str | Path]) -> list[StoredRun]:
    """Read every record of some folders, and check that they belong together.

    Args:
        folders: Each holds records in ``results/``, or itself.

    Returns:
        The runs, in the order of folders and file names.

    Raises:
        DataError: If a folder holds no record, a file is no record, or :func:`check_runs` objects.
    """
    runs: list[StoredRun] = []
    for folder in map(Path, folders):
        place = folder / FOLDER if (folder / FOLDER).is_dir() else folder
        paths = sorted(place.glob("*.json"))
        if not paths:
            raise DataError(
                f"No records: expected JSON files in {str(folder / FOLDER)!r} or {str(folder)!r}, got none."
                " Run something first, or correct the folder."
            )
        runs += [run_of(read_record(path), str(path)) for path in paths]
    check_runs(runs)
    return runs


def check_runs(runs: Sequence[StoredRun]) -> None:
    """Check that runs can stand in one table.

    Every run has a test score or has failed, and :func:`check_settings` does not object.

    Raises:
        DataError: If a run was scored on the dev set alone, or settings are mixed.
    """
    for run in runs:
        if run.score is None and run.failure is None:
            raise DataError(
                f"Records of tuning make no table: expected a test score, got a dev score alone in"
                f" {run.source!r}. Read tuning.md, or give the folder of runs that were scored on the test"
                " set."
            )
    check_settings(runs)


def check_settings(runs: Sequence[StoredRun]) -> None:
    """Check that runs of one label, and of one task, belong together.

    Seeds aside, all runs of one label on one task, model and size have the same settings, and all runs
    on one task, model and size the same data, metric and limits. No run is there twice.

    Raises:
        DataError: If one of these does not hold; the message shows both files and the keys that differ.
    """
    seen: dict[tuple, StoredRun] = {}
    cells: dict[tuple, StoredRun] = {}
    tasks: dict[tuple, StoredRun] = {}
    for run in runs:
        place = (run.task, run.model, run.train_size)
        other = seen.setdefault((run.label, *place, run.seed), run)
        if other is not run:
            raise DataError(
                f"A run is there twice: expected one record of {run.label!r}, {run.task!r}, seed"
                f" {run.seed}, got {other.source!r} and {run.source!r}. Move one away."
            )
        _compare(cells.setdefault((run.label, *place), run), run, _own, f"of label {run.label!r}")
        _compare(tasks.setdefault(place, run), run, _common, f"on task {run.task!r}")


def labels_of(runs: Iterable[StoredRun]) -> list[str]:
    """Return the labels: in the order of ``METHODS``, then the method's own name, then by name."""
    methods = {run.label: run.method for run in runs}
    names = list(METHODS)
    rank = {name: names.index(name) if name in names else len(names) for name in methods.values()}
    return sorted(methods, key=lambda label: (rank[methods[label]], label != methods[label], label))


def tables_of(runs: Iterable[StoredRun]) -> dict[tuple[str, int], list[StoredRun]]:
    """Group runs by model and size, which is what one table holds, in this order."""
    groups: dict[tuple[str, int], list[StoredRun]] = {}
    for run in runs:
        groups.setdefault((run.model, run.train_size), []).append(run)
    return {key: groups[key] for key in sorted(groups)}


def _own(run: StoredRun) -> dict[str, Any]:
    return flat_settings({key: value for key, value in run.settings.items() if key != "seed"})


def _common(run: StoredRun) -> dict[str, Any]:
    shared = {key: run.settings[key] for key in _SHARED if key in run.settings}
    return flat_settings(shared) | {"metric": run.metric, "examples": run.record["run_info"]["data"]}


def _compare(
    first: StoredRun, second: StoredRun, numbers: Callable[[StoredRun], dict[str, Any]], what: str
) -> None:
    if first is second:
        return
    old, new = numbers(first), numbers(second)
    if changed := changed_settings(old, new):
        shown = ", ".join(f"{key} = {old.get(key)!r} and {new.get(key)!r}" for key in changed[:5])
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise DataError(
            f"Records {what} do not belong together: expected the same settings, got {shown}{more} in"
            f" {first.source!r} and {second.source!r}. Give each setting a label or a folder of its own."
        )
