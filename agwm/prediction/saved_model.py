"""Load a finetuned model from its folder, whole: a folder that lacks a head or weights is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

import agwm.models.probe  # noqa: F401 - transformers knows the class of a saved probe by its import
from agwm.errors import ModelError, border, shown
from agwm.models.checkpoint import check_quantized, check_types, check_weights, listed, mismatched_shapes
from agwm.models.pretrained import quiet_transformers
from agwm.models.probe import ProbeConfig
from agwm.models.sources import locate
from agwm.models.vocabulary import check_tokenizer

__all__ = ["SavedModel", "load_saved"]

_OTHER_HEADS = re.compile(
    "TokenClassification|MultipleChoice|QuestionAnswering|LM$|LMHeadModel$|PreTraining$"
)
# The import registers the class with transformers, which then needs no code from the folder.
_OWN_CLASSES = (ProbeConfig.model_type,)
_REMEDY = "Name the folder of a finetuned classifier, such as agwm fit writes."


@dataclass(frozen=True)
class SavedModel:
    """A model as it was saved.

    Attributes:
        model: The model, on the CPU, in float32, in evaluation mode.
        tokenizer: Its tokenizer.
        notes: What was found while loading; a short line each.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    notes: tuple[str, ...] = ()


def load_saved(folder: str | Path, trust_remote_code: bool = False) -> SavedModel:
    """Load a finetuned model for sequence classification or regression.

    Nothing is drawn at random, as for training: every weight has to be in the folder.

    Args:
        folder: Folder of the model, with its config, weights and tokenizer.
        trust_remote_code: True to run code that lies in the folder.

    Raises:
        ModelError: If the folder holds no such model, a part of it is missing, damaged or another model's.
    """
    name = str(folder)
    source = _checked_folder(folder)
    shared: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": True}
    content = "a finetuned model with a tokenizer"
    with (
        quiet_transformers(),
        border(Path(folder), content, _REMEDY, problem="Cannot load model", error=ModelError),
    ):
        stored, _ = PretrainedConfig.get_config_dict(source, **shared)
        _check_head_kind(name, stored)
        config = AutoConfig.from_pretrained(source, **shared)
        check_quantized(name, config)
        tokenizer = AutoTokenizer.from_pretrained(source, **shared)
        model, report = AutoModelForSequenceClassification.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # refused below, by name
            output_loading_info=True,
            **shared,
        )
        notes = check_types(name, source)
        fresh, more = check_weights(name, model, report)
        _check_head(name, model, fresh, report)
        notes += more + check_tokenizer(name, tokenizer, model)
    return SavedModel(model.eval(), tokenizer, tuple(notes))


def _checked_folder(folder: str | Path) -> str:
    """Return the folder's path, or raise unless a plain model lies in it.

    Raises:
        ModelError: If none does; the message names folders inside of it in which models lie.
    """
    path = Path(folder).expanduser()
    with border(path, "the folder of a model", _REMEDY, problem="Cannot load model", error=ModelError):
        if not path.is_dir():
            got = "a file" if path.exists() else "nothing there"
            raise ModelError(f"No model in {shown(path)}: expected a folder, got {got}. {_REMEDY}")
        if not (path / "config.json").is_file():
            inside = sorted(one.parent for one in path.glob("*/config.json"))[:3]
            found = " or ".join(shown(one) for one in inside)
            hint = f" Did you mean {found}?" if inside else ""
            raise ModelError(
                f"No model in {shown(path)}: expected a config.json beside weights and tokenizer, got none."
                f"{hint} {_REMEDY}"
            )
    return locate(str(path))[0]


def _check_head_kind(name: str, stored: Mapping[str, Any]) -> None:
    """Raise if a model was saved with a head that answers something else, under the same names or not.

    Raises:
        ModelError: If so.
    """
    made_for = str(next(iter(stored.get("architectures") or ()), ""))
    if _OTHER_HEADS.search(made_for):
        raise ModelError(
            f"Model {shown(name)} is no classifier of texts: expected one with a head for sequence"
            f" classification, got {shown(made_for, 80)}. {_REMEDY}"
        )


def _check_head(name: str, model: PreTrainedModel, fresh: set[str], report: Mapping[str, Any]) -> None:
    """Raise if weights of the head, or of the pooler before it, are not those of the checkpoint.

    Raises:
        ModelError: If so.
    """
    drawn = [key for key, one in model.named_parameters() if key in fresh and one.requires_grad]
    if not drawn:
        return
    shapes = mismatched_shapes(report)
    if drawn[0] in shapes:
        stored, wanted = (list(shape) for shape in shapes[drawn[0]])
        got = f"{drawn[0]} of shape {stored} in place of {wanted}"
    else:
        got = f"none for {listed(drawn)}"
    raise ModelError(
        f"Model {shown(name)} is not finetuned: expected all its weights in the checkpoint, got {got}."
        f" {_REMEDY}"
    )
