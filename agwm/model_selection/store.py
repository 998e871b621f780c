"""Finished cells on disk, so that a selection that was stopped goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from agwm.checkpoints import Checkpoints
from agwm.errors import ConfigError, DataError, shown
from agwm.files import make_folder, read_json, write_json
from agwm.model_selection.cells import FoldCell, TrialCell, TrialsRecord
from agwm.model_selection.record import FoldRecord, TrialRecord

__all__ = ["FOLDER", "TRAININGS", "Store", "key_of"]

FOLDER = "selection"
TRAININGS = "trainings"  # folder in it
_LOCK = "lock"


def key_of(parts: Mapping[str, Any]) -> str:
    """Return a short digest, such as that of everything that the outcome of a cell depends on."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Store:
    """Records of cells, and checkpoints of trainings, in the folder ``selection`` of the output folder.

    Args:
        output_dir: The output folder; None: nothing is kept.
        key: Digest of rows and settings. Records of another key are passed over, and replaced.
    """

    def __init__(self, output_dir: Path | None, key: str) -> None:
        self.folder = None if output_dir is None else output_dir / FOLDER
        self.key = key
        self.num_other = 0  # records of other rows or settings that were met

    @contextmanager
    def held(self) -> Iterator[None]:
        """Context manager: no other process works in the folder.

        Raises:
            ConfigError: If another process does.
            DataError: If the folder cannot be written.
        """
        if self.folder is None:
            yield
            return
        lock = FileLock(make_folder(self.folder) / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"Output folder is in use: expected {shown(self.folder.parent)} for this process alone, got"
                " another one that works there. Wait for it, or pass another --output-dir."
            ) from None
        try:
            yield
        finally:
            lock.release()  # the file stays: who removes it may remove another's lock

    def find(self, cell: TrialCell | FoldCell) -> TrialsRecord | FoldRecord | None:
        """Return the record of a finished cell; None if there is none of these rows and settings."""
        if self.folder is None or not (path := self.folder / f"{cell.name}.json").is_file():
            return None
        try:
            content = read_json(path)
            if (content["key"], content["digest"]) != (self._key(cell), key_of(content["record"])):
                self.num_other += 1
                return None
            return _built(content["record"], isinstance(cell, TrialCell))
        except (DataError, KeyError, TypeError):  # of another release, or damaged
            self.num_other += 1
            return None

    def write(self, cell: TrialCell | FoldCell, record: TrialsRecord | FoldRecord) -> None:
        """Keep the record of a finished cell.

        Raises:
            DataError: If it cannot be written.
        """
        if self.folder is not None:
            values = dataclasses.asdict(record)
            content = {"key": self._key(cell), "digest": key_of(values), "record": values}
            write_json(self.folder / f"{cell.name}.json", content)

    def forget(self, cell: TrialCell | FoldCell) -> None:
        """Remove what a cell kept on its way: its record is written."""
        if self.folder is not None:
            for path in self.folder.glob(f"{cell.name}-trial-*.json"):
                path.unlink(missing_ok=True)
            self._forget_trainings(self.folder, rf"{re.escape(cell.name)}(-trial-\d+)?-[0-9a-f]+")

    def forget_trainings(self) -> None:
        """Remove all checkpoints: the work is done."""
        if self.folder is not None:
            shutil.rmtree(self.folder / TRAININGS, ignore_errors=True)

    def checkpoints(self, cell: TrialCell | FoldCell, threads: int) -> Checkpoints | None:
        """Return the checkpoints of the training in a cell; see :meth:`checkpoints_of`."""
        return self.checkpoints_of(cell.name, self._key(cell), threads)

    def checkpoints_of(self, name: str, key: str, threads: int) -> Checkpoints | None:
        """Return the checkpoints of a training; None where nothing is kept.

        Those of other rows, settings or versions are removed: records of them are made anew too.

        Args:
            name: Name of the training.
            key: Digest of what else decides its outcome than the rows and settings of all.
            threads: Threads of torch, which decide how sums are rounded.
        """
        if self.folder is None:
            return None
        facts = {"all": self.key, "own": key, "threads": threads, "torch": str(torch.__version__)}
        own = f"{name}-{key_of(facts)}"
        self._forget_trainings(self.folder, rf"{re.escape(name)}-[0-9a-f]+", own)

        def tell(line: str) -> None:
            tqdm.write(f"{name}: {line}", file=sys.stderr)

        return Checkpoints(self.folder / TRAININGS / own, facts, tell=tell)

    @staticmethod
    def _forget_trainings(folder: Path, pattern: str, but: str = "") -> None:
        for path in (folder / TRAININGS).glob("*"):
            if path.name != but and re.fullmatch(pattern, path.name):
                shutil.rmtree(path, ignore_errors=True)

    def _key(self, cell: TrialCell | FoldCell) -> str:
        held_out = cell.held_out if isinstance(cell, TrialCell) else (cell.test,)
        rows = [part.tolist() for part in (cell.train, *held_out)]
        return key_of({"all": self.key, "rows": rows, "settings": cell.settings, "seed": cell.seed})


def _built(content: dict[str, Any], is_of_trials: bool) -> TrialsRecord | FoldRecord:
    if is_of_trials:
        first, second = ([TrialRecord(**trial) for trial in trials] for trials in content["trials"])
        return TrialsRecord((first, second), content["seconds"], content["passes"])
    return FoldRecord(**content | {"trials": [TrialRecord(**trial) for trial in content["trials"]]})
