"""Load the folder that ``Mixup.save_pretrained`` wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm._version import __version__
from agwm.checks import Interval, NonNegative, check_value
from agwm.errors import ConfigError, DataError, ModelError, ShapeError, border, one_line, reason, shown
from agwm.files import check_regular, read_json
from agwm.folders import put_back
from agwm.mixing.alpha import ALPHA_FORMS, Alpha, alpha_class
from agwm.mixing.functions import Formula
from agwm.mixing.injection import check_plain, ordinary_tensors
from agwm.mixing.mixup import Mixup
from agwm.mixing.saving import ATTENTION_FILE, FORMAT, INDEX_FILE, PRETRAINED_FILE, TASK_FILE
from agwm.mixing.selection import find_candidates

__all__ = ["load"]

_REMEDY = "Save the model again with mixup.save_pretrained."
# Keys of the index, and of each of its weights -> the types of their values.
_INDEX: dict[str, Any] = {
    "model_class": str,
    "is_hugging_face": bool,
    "formula": Formula,
    "alpha": str,
    "is_own_alpha": bool,
    "init_std": NonNegative,
    "weights": list[Mapping[str, Any]],
}
_WEIGHT: dict[str, Any] = {"name": str, "num_batch_dims": Annotated[int, Interval(0)]}


def _read_tensors(path: Path) -> dict[str, Tensor]:
    with border(path, "a safetensors file", _REMEDY, error=DataError):
        check_regular(path)
        return load_file(path)


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise unless all numbers are finite: mixing would spread one that is not.

    Raises:
        DataError: If one is not.
    """
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise DataError(
                f"Cannot use tensor {shown(name)} of {shown(path)}: expected finite numbers, got others."
                f" {_REMEDY}"
            )


def _read_index(folder: Path) -> dict[str, Any]:
    put_back(folder)  # where a save was killed
    if not os.path.isfile(folder / INDEX_FILE):
        what = f"a folder without {INDEX_FILE}" if os.path.isdir(folder) else "no such folder"
        raise DataError(
            f"Cannot load {shown(folder)}: expected a folder that mixup.save_pretrained wrote, got"
            f" {what}. A merged or plain model is loaded with transformers' from_pretrained."
        )
    index = read_json(folder / INDEX_FILE)
    if not isinstance(index, dict) or repr(index.get("format")) != repr(FORMAT):
        got = index.get("format") if isinstance(index, dict) else type(index).__name__
        raise DataError(
            f"Cannot load {shown(folder)}: expected format {FORMAT} in {INDEX_FILE}, got {shown(got)}."
            f" This is agwm {__version__}; use the release that wrote it."
        )
    for name, kind in _INDEX.items():
        if name not in index:
            raise DataError(
                f"Cannot load {shown(folder)}: expected {INDEX_FILE} with all its keys, got none of name"
                f" {name!r}. {_REMEDY}"
            )
        check_value(f"Key {name!r} in {shown(folder / INDEX_FILE)}", kind, index[name], _REMEDY, DataError)
    for place, entry in enumerate(index["weights"]):
        for name, kind in _WEIGHT.items():
            where = f"Key 'weights.{place}.{name}' in {shown(folder / INDEX_FILE)}"
            check_value(where, kind, entry.get(name), _REMEDY, DataError)
    names = [entry["name"] for entry in index["weights"]]
    if len(set(names)) < len(names) or not names:
        raise DataError(
            f"Wrong key 'weights' in {shown(folder / INDEX_FILE)}: expected one or more different weights,"
            f" got {shown(names)}. {_REMEDY}"
        )
    return index


def _from_transformers(folder: Path, name: str) -> PreTrainedModel:
    with border(name, "a model class of transformers", _REMEDY, problem="Cannot build", error=ModelError):
        cls = getattr(transformers, name, None)  # it may import a library that is missing
    if not (isinstance(cls, type) and issubclass(cls, PreTrainedModel)):
        raise ModelError(
            f"Cannot build {shown(name)}: expected a model class of transformers"
            f" {transformers.__version__}, got none of that name. Pass a model of that class as"
            " agwm.load(directory, model=...)."
        )
    return _read_model(cls, folder)


def _read_model(cls: type[PreTrainedModel], folder: Path) -> PreTrainedModel:
    """Build a model from a folder, all of whose weights are those of the folder.

    Raises:
        DataError: If a file is damaged, or a weight is missing, left over, or of another shape.
    """
    expected = f"the {cls.__name__} that was saved"
    with border(folder, expected, _REMEDY, problem="Cannot read W from", error=DataError):
        loaded: Any = cls.from_pretrained(folder, output_loading_info=True)
    model, info = loaded
    names: dict[int, set[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), set()).add(name)
    missing = set(info["missing_keys"])
    # a weight of two names is saved under one of them
    missing -= set().union(*(group for group in names.values() if not group <= missing))
    mismatched = {key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]}
    problems = (
        ("missing", missing),
        ("unexpected", set(info["unexpected_keys"])),
        ("misshapen", mismatched),
    )
    for kind, keys in problems:
        _refuse_keys(kind, keys, folder, f"the weights of {cls.__name__}")
    return model


def _refuse_keys(kind: str, keys: set[str], where: Path, expected: str) -> None:
    if keys:
        listed = ", ".join(map(repr, sorted(keys)[:5])) + (", ..." if len(keys) > 5 else "")
        raise DataError(
            f"Tensors are {kind} in {shown(where)}: expected {expected} and no others, got {len(keys)}"
            f" {kind}: {one_line(listed)}. {_REMEDY}"
        )


def _load_model(folder: Path, index: dict[str, Any], model: nn.Module | None) -> nn.Module:
    """Return a model with the saved W: a new one, or the given one with W copied into it.

    Raises:
        ModelError: If the model cannot be built, or is of another class.
        ShapeError: If its weights have other shapes.
    """
    name = index["model_class"]
    if model is None and index["is_hugging_face"]:
        return _from_transformers(folder, name)
    if model is None:
        raise ModelError(
            f"Cannot build {shown(name)}: expected a model to load into, as only Hugging Face models are"
            " built from a folder, got model=None. Pass agwm.load(directory, model=...)."
        )
    check_plain(model)
    if type(model).__name__ != name:
        raise ModelError(
            f"Model is of another class: expected {shown(name)}, got {type(model).__name__!r}."
            " Pass a model of the class that was saved."
        )
    if isinstance(model, PreTrainedModel):
        state = _read_model(type(model), folder).state_dict()
    else:
        state = _read_tensors(folder / TASK_FILE)
    try:
        model.load_state_dict(state)
    except Exception as error:
        raise ShapeError(
            f"Model does not fit the saved weights: expected the {name} that was saved, got another"
            f" ({reason(error)}). Build it with the same sizes."
        ) from None
    return model


def _alpha_form(index: dict[str, Any], alpha: str | type[Alpha] | None) -> type[Alpha]:
    saved = index["alpha"]
    if alpha is None:
        if index["is_own_alpha"]:
            raise ConfigError(
                f"Form of alpha is not agwm's: expected the class {shown(saved)} to be passed, got"
                f" alpha=None. Pass agwm.load(directory, alpha={one_line(saved, 60)})."
            )
        return alpha_class(saved)
    form = alpha_class(alpha)
    given = alpha if isinstance(alpha, str) else form.__name__
    if saved not in (given, form.__name__) and ALPHA_FORMS.get(saved) is not form:
        raise ConfigError(
            f"Form of alpha is another: expected {shown(saved)}, as saved, got {given!r}. Pass the form"
            " that the model was injected with."
        )
    return form


def _load_alpha(form: type[Alpha], name: str, shape: torch.Size, entry: dict, state: dict) -> Alpha:
    try:
        # a generator of its own: loading leaves the global random state alone
        alpha = form(shape, entry["num_batch_dims"], entry["init_std"], torch.Generator())
        alpha.load_state_dict(state, assign=True)
    except Exception as error:
        raise ShapeError(
            f"Alpha of {shown(name)} does not fit: expected what {form.__name__} makes for a weight of"
            f" {tuple(shape)}, got another ({reason(error)}). Load the model and form that were saved."
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
        DataError: If the folder is missing, was not written by agwm, or is damaged: a weight that it lacks
            would stay random.
        ModelError: If the model cannot be built, is of another class, or lacks a mixed weight.
        ConfigError: If the form of alpha has to be passed, or another one is passed.
        ShapeError: If shapes of the model and of the saved tensors differ.

    Example:
        >>> import tempfile
        >>> from agwm.mixing.injection import inject
        >>> mixup = inject(nn.Linear(2, 3), include="weight", seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     mixup.save_pretrained(folder)
        ...     again = load(folder, model=nn.Linear(2, 3))
        >>> torch.equal(again.alpha("weight"), mixup.alpha("weight"))
        True
    """
    folder = Path(directory)
    index = _read_index(folder)
    form = _alpha_form(index, alpha)
    with ordinary_tensors():
        pretrained = _read_tensors(folder / PRETRAINED_FILE)
        attention = _read_tensors(folder / ATTENTION_FILE)
    for file, tensors in ((PRETRAINED_FILE, pretrained), (ATTENTION_FILE, attention)):
        _check_finite(folder / file, tensors)
    model = _load_model(folder, index, model)
    known = {candidate.name: candidate for candidate in find_candidates(model)}
    candidates, alphas = [], {}
    left = {PRETRAINED_FILE: set(pretrained), ATTENTION_FILE: set(attention)}
    for entry in index["weights"]:
        name = entry["name"]
        if name not in known or name not in pretrained:
            where = "model" if name not in known else PRETRAINED_FILE
            raise ModelError(
                f"Mixed weight is missing: expected {shown(name)} in the {where}, got none of that name."
                " Load the model that was saved."
            )
        candidate = known[name]
        candidate.num_batch_dims = entry["num_batch_dims"]
        candidates.append(candidate)
        prefix = name.replace(".", "/") + "."
        state = {k.removeprefix(prefix): v for k, v in attention.items() if k.startswith(prefix)}
        left[PRETRAINED_FILE].discard(name)
        left[ATTENTION_FILE].difference_update(prefix + key for key in state)
        entry = entry | {"init_std": index["init_std"]}
        device = candidate.parameter.device
        with ordinary_tensors():
            alphas[name] = _load_alpha(form, name, pretrained[name].shape, entry, state).to(device)
            pretrained[name] = pretrained[name].to(device)
    for file, keys in left.items():
        _refuse_keys("unexpected", keys, folder / file, f"those of the weights in {INDEX_FILE}")
    mixup = Mixup(model, candidates, index["formula"], index["alpha"])
    mixup.attach(alphas, pretrained)
    return mixup
