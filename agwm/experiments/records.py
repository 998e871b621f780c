"""Folders of records: one JSON file for each method, task, model, size and seed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from agwm.errors import ConfigError, DataError, shown
from agwm.experiments.config import RunConfig
from agwm.experiments.record import Record, RunInfo, read_record
from agwm.methods import METHODS, make_method
from agwm.models.files import folder_name, model_files, model_name
from agwm.models.pretrained import pick_device
from agwm.nested import flat_settings
from agwm.versions import versions

__all__ = [
    "FOLDER",
    "changed_settings",
    "find_finished",
    "load_records",
    "record_path",
    "run_info",
    "run_settings",
]

FOLDER = "results"
_LONGEST = 235  # bytes of a file name; 255 are allowed, and temporary names are longer
_SHARED = (
    "task",
    "model",
    "trust_remote_code",
    "train_size",
    "stratified",
    "start_head",
    "group_by_length",
    "max_length",
    "test_limit",
)
_DATA = ("text_columns", "label_column", "label_names", "regression", "metric", "positive")


def run_settings(config: RunConfig, method: str, seed: int) -> dict[str, Any]:
    """Return exactly the settings that decide the outcome of one run.

    Paths are left out, since files may move. Their content counts: ``model_files`` has a fingerprint of the
    model's files, and :func:`find_finished` compares the fingerprint of the examples.

    Args:
        config: The experiment.
        method: One of ``METHODS``.
        seed: The run's seed.

    Returns:
        Nested plain dicts.
    """
    values = config.to_dict()
    data = {key: values["data"][key] for key in _DATA}
    chosen = {key: values[key] for key in (*_SHARED, *METHODS[method].sections)}
    for name in make_method(method, config.rivals).unused():
        section, _, key = name.partition(".")
        del chosen[section][key]
    if method in values["rivals"]:
        chosen["rivals"] = {method: values["rivals"][method]}
    chosen["model"] = folder_name(config.model) or config.model
    if files := model_files(config.model):
        chosen["model_files"] = files
    return {"method": method, "seed": seed, **chosen, "data": data}


def run_info(
    config: RunConfig, method: str, seed: int, data: str, num_train: int, label: str | None = None
) -> RunInfo:
    """Return the first section of the record of a run.

    Args:
        config: The experiment.
        method: One of ``METHODS``.
        seed: The run's seed.
        data: Fingerprint of the examples.
        num_train: Number of training examples.
        label: Name in tables of the method with these settings; None: the method's name.
    """
    return RunInfo(
        method=method,
        label=label or method,
        task=config.task,
        model=model_name(config.model),
        train_size=num_train,
        seed=seed,
        settings=run_settings(config, method, seed),
        data=data,
        versions=versions(),
        device=str(pick_device(config.device)),
        threads=torch.get_num_threads(),
    )


def record_path(
    output_dir: str | Path, config: RunConfig, method: str, seed: int, label: str | None = None
) -> Path:
    """Return ``<output_dir>/results/<label>--<task>--<model>--n<size>--seed<seed>.json``.

    Without a label the method's name stands there. Of a model given as a folder or as ``owner/name``, the
    last part is taken. The size may be ``all`` or ``whole``.

    Raises:
        ConfigError: If file systems take no name that long.
    """
    model = model_name(config.model) or "model"
    parts = (label or method, config.task, model, f"n{config.train_size}", f"seed{seed}")
    name = "--".join(_file_part(part) for part in parts) + ".json"
    if len(os.fsencode(name)) > _LONGEST:
        raise ConfigError(
            f"Record's file name is too long: expected at most {_LONGEST} bytes of label, task, model, size"
            f" and seed, got {shown(name)}. Shorten --task, or the name of the --model folder."
        )
    return Path(output_dir) / FOLDER / name


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the keys in which the flat settings of two runs differ.

    A folder's name may stand for a name on the hub that ends in it; what the two hold is compared where
    both were read from a folder.
    """
    return [key for key in dict.fromkeys((*old, *new)) if _differs(key, old.get(key), new.get(key))]


def _differs(key: str, old: Any, new: Any) -> bool:
    if key == "model" and isinstance(old, str) and isinstance(new, str) and not ("/" in old and "/" in new):
        return Path(old).name != Path(new).name
    if key == "model_files" and None in (old, new):
        return False
    return old != new


def find_finished(path: Path, settings: Mapping[str, Any], data: str | None) -> Record | None:
    """Return the record of an earlier run with the same settings; None if there is none.

    Args:
        path: The record's file.
        settings: The result of :func:`run_settings` for the run.
        data: Fingerprint of the examples; None: any examples will do.

    Returns:
        The record, if the file is there.

    Raises:
        ConfigError: If it was made with other settings or other data; the message shows where.
        DataError: If it cannot be read.
    """
    if not path.exists():
        return None
    record = read_record(path)
    if record.settings == settings and data in (None, record.run_info.data):
        return record
    old = flat_settings({**record.settings, "data_fingerprint": record.run_info.data})
    new = flat_settings({**settings, "data_fingerprint": old["data_fingerprint"] if data is None else data})
    if changed := changed_settings(old, new):
        key = changed[0]
        raise ConfigError(
            f"Record {shown(path)} is of another config: expected {key} = {shown(new.get(key))}, got"
            f" {shown(old.get(key))}. Choose another --output-dir, or pass --override to run it again."
        )
    return record


def load_records(output_dir: str | Path) -> list[Record]:
    """Read every record in ``<output_dir>/results``, in the order of their file names.

    Raises:
        DataError: If there is none, or a file is no record.
    """
    folder = Path(output_dir) / FOLDER
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise DataError(f"No records: expected JSON files in {shown(folder)}, got none.")
    return [read_record(path) for path in paths]


def _file_part(text: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in text) or "_"
