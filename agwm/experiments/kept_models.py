"""Saved finetuned models, one folder for each record. Record and model carry each other's fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from agwm.experiments.record import Record, fingerprint
from agwm.files import write_json
from agwm.folders import whole_folder
from agwm.methods import Outcome
from agwm.models.pretrained import quiet_transformers

__all__ = ["LINK_FILE", "MODELS", "keep_model", "lacks_model", "lacking_line", "model_folder", "save_model"]

MODELS = "models"
LINK_FILE = "agwm_record.json"
_CHUNK = 1 << 20  # bytes


def model_folder(path: Path) -> Path:
    """Return the folder of the model that belongs to a record's file."""
    return path.parent.parent / MODELS / path.stem


def keep_model(outcome: Outcome, path: Path, record: Record) -> Record:
    """Save a finetuned model; if that fails, the run keeps its score.

    Args:
        outcome: Outcome of the run.
        path: The record's file. An older one is removed just before the model takes the place of the older
            model, so that no old record ever lies beside a new model.
        record: Record of the run.

    Returns:
        The record; with the model's fingerprint, or with the reason of a failure in one line.
    """
    try:
        model = save_model(outcome, path, record)
    except Exception as error:  # whatever it is, the score is worth more
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return replace(record, train_info=replace(record.train_info, model_failure=reason))
    return replace(record, train_info=replace(record.train_info, model=model))


def save_model(outcome: Outcome, path: Path, record: Record) -> str:
    """Save a finetuned model, so that its folder is either whole or as it was.

    Returns:
        The fingerprint of its weights.

    Raises:
        DataError: If the folder cannot be made or written.
    """
    with whole_folder(model_folder(path)) as folder:
        with quiet_transformers():
            outcome.write(folder, outcome.card)
        model = _fingerprint(folder)
        write_json(folder / LINK_FILE, {"record": fingerprint(record), "model": model})
        path.unlink(missing_ok=True)
    return model


def lacks_model(path: Path, record: Record) -> bool:
    """Return whether a successful run has a record but no saved model of its own.

    A folder beside a record with a ``model_failure`` is of an earlier run, and so is one whose fingerprints
    are others. Those of older releases have none, and are taken as they are.
    """
    train = record.train_info
    if train.failure is not None:
        return False
    folder = model_folder(path)
    if train.model_failure is not None or not folder.is_dir():
        return True
    try:
        link = json.loads((folder / LINK_FILE).read_text(encoding="utf-8"))
        return (link["record"], link["model"]) != (fingerprint(record), train.model)
    except FileNotFoundError:
        return train.model is not None
    except (OSError, ValueError, KeyError, TypeError):
        return True


def lacking_line(number: int) -> str:
    """Return the line that counts finished runs without a saved model."""
    return f"{number} of the runs are finished, but no model is kept: --override runs them again."


def _fingerprint(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
