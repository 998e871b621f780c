"""Read the records of several folders and check that they can stand in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from agwm.errors import DataError, border, one_line, shown
from agwm.experiments.record import Record, read_record
from agwm.experiments.records import FOLDER, changed_settings
from agwm.methods import METHODS
from agwm.nested import flat_settings

__all__ = [
    "check_runs",
    "check_settings",
    "has_own_alpha",
    "labels_of",
    "learns_alpha",
    "load_runs",
    "tables_of",
]

# Scores on one task compare only if these settings are the same for all methods.
_SHARED = (
    "model",
    "model_files",
    "stratified",
    "start_head",
    "group_by_length",
    "max_length",
    "test_limit",
    "data",
)


def has_own_alpha(run: Record) -> bool:
    """Return whether a run mixed by a method that learns alpha, if its learning rate lets it."""
    return METHODS[run.method].learns_alpha and bool(run.train_info.alpha)


def learns_alpha(run: Record) -> bool:
    """Return whether alpha moved from its start in a run; it does not with a learning rate of 0."""
    own = run.settings.get("rivals", {}).get(run.method) or run.settings.get("search", {})
    return has_own_alpha(run) and own.get("attention_learning_rate") != 0


def load_runs(folders: Iterable[str | Path]) -> list[Record]:
    """Read every record of some folders, and check that they belong together.

    Args:
        folders: Each holds records in ``results/``, or itself.

    Returns:
        The runs, in the order of folders and file names.

    Raises:
        DataError: If a folder holds no record, a file is no record, or :func:`check_runs` objects.
    """
    runs: dict[str, Record] = {}
    for folder in map(Path, folders):
        with border(folder, "a folder of records", "Correct the folder."):
            place = folder / FOLDER if (folder / FOLDER).is_dir() else folder
            paths = sorted(place.glob("*.json"))
        if not paths:
            raise DataError(
                f"No records: expected JSON files in {shown(folder / FOLDER)} or {shown(folder)}, got none."
                " Run something first, or correct the folder."
            )
        runs |= {str(path): read_record(path) for path in paths}
    check_runs(runs)
    return list(runs.values())


def check_runs(runs: Mapping[str, Record]) -> None:
    """Raise unless the runs can stand in one table.

    Every run has a test score or has failed, and :func:`check_settings` does not object.

    Args:
        runs: Name of a run, such as its file, for messages -> its record.

    Raises:
        DataError: If a run was scored on the dev set alone, or settings are mixed.
    """
    for name, run in runs.items():
        if run.score is None and run.failure is None:
            raise DataError(
                f"Records of tuning make no table: expected a test score, got a dev score alone in"
                f" {shown(name)}. Read tuning.md, or give the folder of runs that were scored on the test"
                " set."
            )
    check_settings(runs)


def check_settings(runs: Mapping[str, Record]) -> None:
    """Raise unless the runs of one label, and those on one task, have the settings that they must share.

    Seeds aside, all runs of one label on one task, model and size have the same settings, and all runs
    on one task, model and size the same data, metric and limits. No run is there twice.

    Args:
        runs: Name of a run, such as its file, for messages -> its record.

    Raises:
        DataError: If one of these does not hold; the message shows both files and the keys that differ.
    """
    seen: dict[tuple, str] = {}
    cells: dict[tuple, tuple[str, Record]] = {}
    tasks: dict[tuple, tuple[str, Record]] = {}
    for name, run in runs.items():
        place = (run.task, run.model, run.train_size)
        other = seen.setdefault((run.label, *place, run.seed), name)
        if other != name:
            raise DataError(
                f"A run is there twice: expected one record of {shown(run.label)}, {shown(run.task)}, seed"
                f" {run.seed}, got {shown(other)} and {shown(name)}. Move one away."
            )
        named = (name, run)
        _compare(cells.setdefault((run.label, *place), named), named, _own, f"of label {shown(run.label)}")
        _compare(tasks.setdefault(place, named), named, _common, f"on task {shown(run.task)}")


def labels_of(runs: Iterable[Record]) -> list[str]:
    """Return the labels: in the order of ``METHODS``, then the method's own name, then by name."""
    methods = {run.label: run.method for run in runs}
    names = list(METHODS)
    return sorted(methods, key=lambda label: (names.index(methods[label]), label != methods[label], label))


def tables_of(runs: Iterable[Record]) -> dict[tuple[str, int], list[Record]]:
    """Group runs by model and size, in this order: each group is one table."""
    groups: dict[tuple[str, int], list[Record]] = {}
    for run in runs:
        groups.setdefault((run.model, run.train_size), []).append(run)
    return {key: groups[key] for key in sorted(groups)}


def _own(run: Record) -> dict[str, Any]:
    return {key: value for key, value in run.settings.items() if key != "seed"}


def _common(run: Record) -> dict[str, Any]:
    shared = {key: run.settings[key] for key in _SHARED if key in run.settings}
    return shared | {"metric": run.scores.metric, "examples": run.run_info.data}


def _compare(
    first: tuple[str, Record],
    second: tuple[str, Record],
    settings: Callable[[Record], dict[str, Any]],
    place: str,
) -> None:
    if first is second:
        return
    old, new = settings(first[1]), settings(second[1])
    if old == new:
        return
    old, new = flat_settings(old), flat_settings(new)
    if changed := changed_settings(old, new):
        listed = ", ".join(
            f"{key} = {shown(old.get(key), 40)} and {shown(new.get(key), 40)}" for key in changed[:5]
        )
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise DataError(
            f"Records {place} do not belong together: expected the same settings, got"
            f" {one_line(listed)}{more} in"
            f" {shown(first[0])} and {shown(second[0])}. Give each setting a label or a folder of its own."
        )
