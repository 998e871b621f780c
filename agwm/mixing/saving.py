"""An injected model as a folder: W as Hugging Face writes it, W0, alpha, and an index.

Beside what ``model.save_pretrained`` writes (any Hugging Face program loads W from the folder) there
are ``agwm_pretrained.safetensors`` (W0), ``agwm_attention.safetensors`` (factors of alpha) and
``agwm.json``, which is written last: a folder with it is whole.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm._version import __version__
from agwm.errors import ConfigError, DataError, ModelError, ShapeError
from agwm.files import make_folder, read_json, write_json, write_whole
from agwm.mixing.alpha import ALPHA_FORMS, Alpha, alpha_class
from agwm.mixing.mixup import Mixup, check_plain
from agwm.mixing.selection import find_candidates

__all__ = ["load", "plain_state", "save_mixup", "write_hugging_face", "write_tensors"]

INDEX_FILE = "agwm.json"
PRETRAINED_FILE = "agwm_pretrained.safetensors"
ATTENTION_FILE = "agwm_attention.safetensors"
TASK_FILE = "agwm_model.safetensors"  # W of a model that has no save_pretrained
FORMAT = 1


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to one safetensors file, whole."""
    # cloned apart: safetensors refuses tensors that share storage
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    write_whole(path, lambda temporary: save_file(copies, temporary, {"format": "pt"}))


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"Cannot read {str(path)!r}: expected a safetensors file, got {type(error).__name__}."
            " Save the model again with mixup.save_pretrained."
        ) from None


def write_hugging_face(model: PreTrainedModel, folder: Path) -> None:
    """Let the model write itself aside, then move its files in and drop those of an older save."""
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".saving."))
    try:
        model.save_pretrained(temporary)
        fresh = sorted(path for path in temporary.iterdir() if path.is_file())
        kept = {path.name for path in fresh}
        for stale in folder.glob("model*.safetensors*"):
            if stale.name not in kept:
                stale.unlink()
        for path in fresh:
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of a model that has no ``save_pretrained``.

    Raises:
        ModelError: If it holds more than tensors.
    """
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ModelError(
                f"Cannot save {type(model).__name__}: expected a state_dict of tensors, got"
                f" {type(value).__name__} for {name!r}. Save the model your own way."
            )
    return state


def save_mixup(mixup: Mixup, directory: str | Path) -> None:
    """Write an injected model, its W0 and its alpha into a folder.

    Args:
        mixup: The mixup, on its model.
        directory: Folder to write; made if missing. An earlier save in it is replaced.

    Raises:
        DataError: If the folder cannot be written.
        ModelError: If the hook is off the model, or a plain model's state holds more than tensors.
    """
    mixup.check_attached()
    folder = make_folder(directory)
    model = mixup.model
    is_hugging_face = isinstance(model, PreTrainedModel)
    alphas = [mixup.attention[name] for name in mixup.names]
    index = {
        "format": FORMAT,
        "agwm_version": __version__,
        "model_class": type(model).__name__,
        "is_hugging_face": is_hugging_face,
        "formula": mixup.formula,
        "alpha": mixup.alpha_form,
        "is_own_alpha": ALPHA_FORMS.get(mixup.alpha_form) is not type(alphas[0]),
        "init_std": float(alphas[0].init_std),
        "weights": [
            {"name": name, "num_batch_dims": alpha.num_batch_dims}
            for name, alpha in zip(mixup.names, alphas, strict=True)
        ],
    }
    # without its index a half-replaced folder is none that load() takes
    (folder / INDEX_FILE).unlink(missing_ok=True)
    if is_hugging_face:
        write_hugging_face(model, folder)
    else:
        write_tensors(folder / TASK_FILE, plain_state(model))
    write_tensors(folder / PRETRAINED_FILE, mixup.pretrained)
    write_tensors(folder / ATTENTION_FILE, mixup.attention.state_dict())
    write_json(folder / INDEX_FILE, index)


def _read_index(folder: Path) -> dict[str, Any]:
    if not (folder / INDEX_FILE).is_file():
        what = f"a folder without {INDEX_FILE}" if folder.is_dir() else "no such folder"
        raise DataError(
            f"Cannot load {str(folder)!r}: expected a folder that mixup.save_pretrained wrote, got"
            f" {what}. A merged or plain model is loaded with transformers' from_pretrained."
        )
    index = read_json(folder / INDEX_FILE)
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        got = index.get("format") if isinstance(index, dict) else type(index).__name__
        raise DataError(
            f"Cannot load {str(folder)!r}: expected format {FORMAT} in {INDEX_FILE}, got {got!r}."
            f" This is agwm {__version__}; use the release that wrote it."
        )
    return index


def _from_transformers(folder: Path, name: str) -> PreTrainedModel:
    cls = getattr(transformers, name, None)
    if not (isinstance(cls, type) and issubclass(cls, PreTrainedModel)):
        raise ModelError(
            f"Cannot build {name!r}: expected a model class of transformers"
            f" {transformers.__version__}, got none of that name. Pass a model of that class as"
            " agwm.load(directory, model=...)."
        )
    return cls.from_pretrained(folder)


def _load_model(folder: Path, index: dict[str, Any], model: nn.Module | None) -> nn.Module:
    """Return a model with the saved W: a new one, or the given one with W copied into it."""
    name = index["model_class"]
    if model is None and index["is_hugging_face"]:
        return _from_transformers(folder, name)
    if model is None:
        raise ModelError(
            f"Cannot build {name!r}: expected a model to load into, as only Hugging Face models are"
            " built from a folder, got model=None. Pass agwm.load(directory, model=...)."
        )
    check_plain(model)
    if type(model).__name__ != name:
        raise ModelError(
            f"Model is of another class: expected {name!r}, got {type(model).__name__!r}."
            " Pass a model of the class that was saved."
        )
    if index["is_hugging_face"]:
        state = type(model).from_pretrained(folder).state_dict()
    else:
        state = _read_tensors(folder / TASK_FILE)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ShapeError(
            f"Model does not fit the saved weights: expected the {name} that was saved, got another"
            f" ({reason}). Build it with the same sizes."
        ) from None
    return model


def _alpha_form(index: dict[str, Any], alpha: str | type[Alpha] | None) -> type[Alpha]:
    saved = index["alpha"]
    if alpha is None:
        if index["is_own_alpha"]:
            raise ConfigError(
                f"Form of alpha is not agwm's: expected the class {saved!r} to be passed, got"
                f" alpha=None. Pass agwm.load(directory, alpha={saved})."
            )
        return alpha_class(saved)
    form = alpha_class(alpha)
    given = alpha if isinstance(alpha, str) else form.__name__
    if saved not in (given, form.__name__) and ALPHA_FORMS.get(saved) is not form:
        raise ConfigError(
            f"Form of alpha is another: expected {saved!r}, as saved, got {given!r}. Pass the form that"
            " the model was injected with."
        )
    return form


def _load_alpha(form: type[Alpha], name: str, shape: torch.Size, entry: dict, state: dict) -> Alpha:
    # a generator of its own: loading leaves the global random state alone
    alpha = form(shape, entry["num_batch_dims"], entry["init_std"], torch.Generator())
    try:
        alpha.load_state_dict(state, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ShapeError(
            f"Alpha of {name!r} does not fit: expected what {form.__name__} makes for a weight of"
            f" {tuple(shape)}, got another ({reason}). Load the model and form that were saved."
        ) from None
    return alpha


def load(
    directory: str | Path, model: nn.Module | None = None, alpha: str | type[Alpha] | None = None
) -> Mixup:
    """Load what ``mixup.save_pretrained`` wrote: the same W, W0 and alpha, bit for bit.

    Args:
        directory: The folder.
        model: A model to load W into, changed in place; needed unless transformers has its class.
            None: a new model of the saved class, in evaluation mode.
        alpha: The class of alpha; needed only where the model was injected with a class of your own.

    Returns:
        The mixup, on its model (``mixup.model``).

    Raises:
        DataError: If the folder is missing, was not written by agwm, or is damaged.
        ModelError: If the model cannot be built, is of another class, or lacks a mixed weight.
        ConfigError: If the form of alpha has to be passed, or another one is passed.
        ShapeError: If shapes of the model and of the saved tensors differ.
    """
    folder = Path(directory)
    index = _read_index(folder)
    form = _alpha_form(index, alpha)
    pretrained = _read_tensors(folder / PRETRAINED_FILE)
    attention = _read_tensors(folder / ATTENTION_FILE)
    model = _load_model(folder, index, model)
    known = {candidate.name: candidate for candidate in find_candidates(model)}
    candidates, alphas = [], {}
    for entry in index["weights"]:
        name = entry["name"]
        if name not in known or name not in pretrained:
            where = "model" if name not in known else PRETRAINED_FILE
            raise ModelError(
                f"Mixed weight is missing: expected {name!r} in the {where}, got none of that name."
                " Load the model that was saved."
            )
        candidate = known[name]
        candidate.num_batch_dims = entry["num_batch_dims"]
        candidates.append(candidate)
        prefix = name.replace(".", "/") + "."
        state = {k.removeprefix(prefix): v for k, v in attention.items() if k.startswith(prefix)}
        entry = entry | {"init_std": index["init_std"]}
        device = candidate.parameter.device
        alphas[name] = _load_alpha(form, name, pretrained[name].shape, entry, state).to(device)
        pretrained[name] = pretrained[name].to(device)
    mixup = Mixup(model, candidates, index["formula"], index["alpha"])
    mixup.attach(alphas, pretrained)
    return mixup
