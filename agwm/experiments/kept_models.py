"""Saved finetuned models, one folder for each record."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from agwm.experiments.record import Record
from agwm.files import make_folder
from agwm.methods import Outcome
from agwm.models.pretrained import quiet_transformers

__all__ = ["MODELS", "keep_model", "lacks_model", "lacking_line", "model_folder", "save_model"]

MODELS = "models"


def model_folder(path: Path) -> Path:
    """Return the folder of the model that belongs to a record's file."""
    return path.parent.parent / MODELS / path.stem


def keep_model(outcome: Outcome, folder: Path, record: Record) -> Record:
    """Save a finetuned model; if that fails, the run keeps its score.

    Args:
        outcome: Outcome of the run.
        folder: Folder of the model.
        record: Record of the run.

    Returns:
        The record; after a failure its ``train_info.model_failure`` holds the reason, in one line.
    """
    try:
        save_model(outcome, folder)
    except Exception as error:  # whatever it is, the score is worth more
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return replace(record, train_info=replace(record.train_info, model_failure=reason))
    return record


def save_model(outcome: Outcome, folder: Path) -> None:
    """Save a finetuned model, so that its folder is either whole or not there.

    Raises:
        DataError: If the folder cannot be made or written.
    """
    make_folder(folder.parent)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with quiet_transformers():
            outcome.save(temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def lacks_model(path: Path, record: Record) -> bool:
    """Return whether a successful run has a record but no saved model.

    A folder beside a record with a ``model_failure`` is of an earlier run.
    """
    train = record.train_info
    return train.failure is None and (train.model_failure is not None or not model_folder(path).is_dir())


def lacking_line(number: int) -> str:
    """Return the line that counts finished runs without a saved model."""
    return f"{number} of the runs are finished, but no model is kept: --override runs them again."
