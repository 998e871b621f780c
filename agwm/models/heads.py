"""Classes of a head by name: a finetuned head is kept, its rows are moved, or it is made anew."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm.models.families import head_names

__all__ = ["class_layer", "fit_head", "new_parts", "rows_by_name"]

_NO_NAME = re.compile(r"label_\d+", re.IGNORECASE)  # how transformers fills in for names
_SHOWN = 5  # names in a message
_ONE_LABEL, _MANY_LABELS = "single_label_classification", "multi_label_classification"
_KINDS = {_ONE_LABEL: "one label an example", _MANY_LABELS: "several labels an example"}


def class_layer(model: PreTrainedModel) -> str | None:
    """Return the name of the layer that has one row for each class: the last such layer of the head."""
    inside = set(head_names(model))
    rows = model.config.num_labels
    found = [
        name
        for name, module in model.named_modules()
        if (weight := getattr(module, "weight", None)) is not None
        and getattr(weight, "ndim", 0) == 2
        and len(weight) == rows
        and not isinstance(module, nn.Embedding)
        and (not inside or f"{name}.weight" in inside)
    ]
    return found[-1] if found else None


def new_parts(model: PreTrainedModel) -> set[str]:
    """Return the names of the parameters that a checkpoint without a head lacks.

    They are the parameters outside the backbone. Perceiver has its head inside, as its decoder.
    """
    if outside := head_names(model):
        return set(outside)
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    part = (class_layer(model) or "").removeprefix(prefix).partition(".")[0]
    return {name for name, _ in model.named_parameters() if part and name.startswith(f"{prefix}{part}.")}


def rows_by_name(stored: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Return for each wanted class the row that has its name; None if the names are not the same.

    Case, and spaces, underscores and hyphens for each other, do not matter where names stay apart.

    Example:
        >>> rows_by_name(["NO", "MAYBE", "YES"], ["yes", "maybe", "no"])
        [2, 1, 0]
        >>> rows_by_name(["cat", "dog"], ["bad", "good"]) is None
        True
    """
    for plain in (str, _plain):
        rows = {plain(name): row for row, name in enumerate(stored)}
        keys = [plain(name) for name in wanted]
        if len(rows) == len(stored) == len(set(keys)) and set(keys) == set(rows):
            return [rows[key] for key in keys]
    return None


def _plain(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[\s_-]+", " ", folded).strip()


def fit_head(
    model: PreTrainedModel,
    stored: Mapping[str, Any],
    label_names: Sequence[str] | None,
    fresh: set[str],
    stored_rows: int | None,
    problem_type: str = _ONE_LABEL,
) -> list[str]:
    """Give a finetuned head the wanted classes, in place, and return what was done.

    Args:
        model: The model, loaded.
        stored: Content of the checkpoint's ``config.json``.
        label_names: Class names in index order; None for regression on one score.
        fresh: Names of the parameters that the checkpoint did not give. Those made anew here are added.
        stored_rows: Rows of the checkpoint's head if its shape is another, and it was replaced already.
        problem_type: Kind of the wanted labels, as transformers calls it.

    Returns:
        Notes, without the model's name; none where there was no head, or it fits as it is.
    """
    name = class_layer(model)
    if name is None or (f"{name}.weight" in fresh and stored_rows is None):
        return []
    size = stored_rows or len(cast(Tensor, model.get_submodule(name).weight))
    names, notes = _stored_names(stored, size)
    kind = stored.get("problem_type")
    was_regression = kind == "regression" or (size == 1 and kind != _MANY_LABELS)
    wanted = "a regression" if label_names is None else _listed(label_names)
    other = _other_task(stored)
    if not other and isinstance(kind, str) and {kind, problem_type} == set(_KINDS):
        wanted, other = _KINDS[problem_type], _KINDS[kind]
    if stored_rows is None and not other:
        if was_regression and label_names is None:
            return ["its head for a regression was kept"]
        if not was_regression and label_names is not None:
            if names is None:
                return [f"its head names no classes and was kept: its rows were taken for {wanted}"]
            if (rows := rows_by_name(names, label_names)) is not None:
                return notes + _move_rows(model.get_submodule(name), rows, names, wanted)
    got = other or ("a regression" if was_regression else _listed(names) if names else "no names")
    if stored_rows is None:
        fresh.update(_renew(model, name))
    return [*notes, f"its head for {_count(size)} was replaced: expected {wanted}, got {got}"]


def _other_task(stored: Mapping[str, Any]) -> str:
    """Return the class of a checkpoint whose head labels tokens or choices, under the same name."""
    made_for = str(next(iter(stored.get("architectures") or ()), ""))
    return made_for if re.search("TokenClassification|MultipleChoice", made_for) else ""


def _stored_names(stored: Mapping[str, Any], size: int) -> tuple[list[str] | None, list[str]]:
    """Return the class names of a config, or None if it has none, and a note if it contradicts itself."""
    by_id, by_name = stored.get("id2label"), stored.get("label2id")
    try:
        one = {int(index): str(name) for index, name in by_id.items()} if isinstance(by_id, Mapping) else {}
        other = (
            {int(index): str(name) for name, index in by_name.items()}
            if isinstance(by_name, Mapping)
            else {}
        )
    except (TypeError, ValueError):  # no numbers
        return None, []
    found = [
        [names[index] for index in range(size)]
        for names in (one, other)
        if set(names) == set(range(size)) and not all(map(_NO_NAME.fullmatch, names.values()))
    ]
    notes = []
    if len(found) == 2 and found[0] != found[1]:
        notes.append("id2label and label2id of its config.json contradict each other: id2label was taken")
    return (found[0] if found else None), notes


@torch.no_grad()
def _move_rows(layer: nn.Module, rows: Sequence[int], names: Sequence[str], wanted: str) -> list[str]:
    """Put the rows of a layer into an order, in place, and return a note if it is another."""
    if list(rows) == sorted(rows):
        return []
    for parameter in layer.parameters(recurse=False):
        parameter.copy_(parameter[list(rows)].clone())
    return [f"the rows of its head were moved to their names' places: from {_listed(names)} to {wanted}"]


def _renew(model: PreTrainedModel, name: str) -> set[str]:
    """Draw a layer anew, as the model's class draws it, and return the names of its parameters."""
    layer = model.get_submodule(name)
    for parameter in layer.parameters(recurse=False):
        # transformers marks what it loaded, and its functions leave that as it is
        vars(parameter)["_is_hf_initialized"] = False
    model._init_weights(layer)
    return {f"{name}.{key}" for key, _ in layer.named_parameters(recurse=False)}


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(name[:40] for name in names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _count(size: int) -> str:
    return "1 class" if size == 1 else f"{size} classes"
