"""Stored refusals: runs that their method refused, unlike runs that were not made yet."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agwm.checks import Count, check_value
from agwm.errors import DataError, shown
from agwm.experiments.config import RunConfig
from agwm.experiments.names import Text
from agwm.experiments.records import FOLDER, run_settings
from agwm.experiments.yaml_files import Form, build
from agwm.files import read_json, write_json
from agwm.models.files import model_name

__all__ = ["REFUSED", "Place", "Refusal", "load_refusals", "read_refusals", "refusal_of", "store_refusals"]

REFUSED = "refused.json"
Place = tuple[str, str, str, int]
# Settings that differ between seeds, or that say where a model lies.
_LEFT_OUT = ("seed", "model", "model_files")
_REMEDY = "Remove it, and run the grid again, which writes its refusals anew."
_FORM = Form("{source} is no list of refusals: its {path}", _REMEDY, DataError, is_by_hand=False)


@dataclass(frozen=True, order=True)
class Refusal:
    """Runs that differ only in the seed, and that their method refuses.

    Attributes:
        label: Name in tables of the method with its settings.
        method: Its name.
        task: Name of the task.
        model: Name of the model, as records have it.
        train_size: Number of training examples.
        reason: Why, in one line.
        settings: Fingerprint of the settings that would decide the runs.
    """

    label: Text
    method: Text
    task: Text
    model: Text
    train_size: Count
    reason: Text
    settings: Text

    @property
    def place(self) -> Place:
        """Label, task, model and size: the place of the runs in a table."""
        return (self.label, self.task, self.model, self.train_size)


def refusal_of(config: RunConfig, method: str, label: str, num_train: int, reason: str = "") -> Refusal:
    """Return the refusal of a run.

    Args:
        config: The experiment.
        method: One of ``METHODS``.
        label: Its name in tables with these settings.
        num_train: Number of training examples.
        reason: Why it is refused.
    """
    settings = run_settings(config, method, config.seed_list[0])
    decisive = {key: value for key, value in settings.items() if key not in _LEFT_OUT}
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
    return Refusal(label, method, config.task, model_name(config.model), num_train, reason, digest)


def store_refusals(
    output_dir: str | Path, refused: Iterable[Refusal], checked: Collection[Place] = ()
) -> None:
    """Rewrite the refusals of a folder. Keep the refusals of runs that nobody checked this time.

    Args:
        output_dir: Folder that holds ``results/``.
        refused: All that were refused this time.
        checked: Places of the runs that were checked. Their old refusals are dropped.

    Raises:
        DataError: If a file of another kind is in the way, or the file cannot be written.
    """
    old, new = read_refusals(output_dir), set(refused)
    places = {*checked, *(one.place for one in new)}
    kept = sorted(new.union(one for one in old if one.place not in places))
    if kept != old:
        write_json(Path(output_dir) / REFUSED, [asdict(one) for one in kept])


def read_refusals(output_dir: str | Path) -> list[Refusal]:
    """Read the refusals of a folder, which may have none.

    Raises:
        DataError: If the file cannot be read, or does not hold refusals.
    """
    path = Path(output_dir) / REFUSED
    if not os.path.lexists(path):
        return []
    content = read_json(path, "a list of refusals", _REMEDY, error=DataError)
    check_value(
        _FORM.key.format(source=shown(path), path="content"), list[Any], content, _REMEDY, DataError
    )
    return sorted(build(Refusal, one, shown(path), f"{place}.", _FORM) for place, one in enumerate(content))


def load_refusals(folders: Iterable[str | Path]) -> list[Refusal]:
    """Read the refusals beside the records of some folders.

    Args:
        folders: The folders that :func:`~agwm.experiments.reporting.runs.load_runs` takes.

    Returns:
        Each once, sorted.

    Raises:
        DataError: If a file is wrong.
    """
    found: set[Refusal] = set()
    for folder in map(Path, folders):
        is_inner = folder.resolve().name == FOLDER and not (folder / FOLDER).is_dir()
        found.update(read_refusals(folder.resolve().parent if is_inner else folder))
    return sorted(found)
