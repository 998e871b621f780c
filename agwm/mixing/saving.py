"""Save an injected model as a folder: W as Hugging Face writes it, W0, alpha, and an index.

Beside what ``model.save_pretrained`` writes (any Hugging Face program loads W from the folder) there
are ``agwm_pretrained.safetensors`` (W0), ``agwm_attention.safetensors`` (factors of alpha), ``agwm.json``
and a card. The folder is swapped whole.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm._version import __version__
from agwm.cards import CARD_FILE, CardFacts, card_text, loading_code
from agwm.errors import ModelError
from agwm.files import write_json, write_text, write_whole
from agwm.folders import whole_folder
from agwm.mixing.alpha import ALPHA_FORMS, Attention
from agwm.processes import check_unsharded
from agwm.processing import check_processing_class, write_processing_class

__all__ = ["plain_state", "save", "write_config", "write_hugging_face", "write_tensors"]

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


def write_hugging_face(
    model: PreTrainedModel,
    folder: Path,
    processing_class: Any = None,
    state: dict[str, Tensor] | None = None,
) -> None:
    """Let the model write itself, with its tokenizer's padding token and without the path it is from.

    Args:
        model: The model.
        folder: Folder to write into.
        processing_class: Its tokenizer.
        state: Its state in full, where its weights are sharded.

    Raises:
        ProcessError: If they are, and no state is given: one process alone cannot gather them.
    """
    if state is None:
        check_unsharded(model.named_parameters(), "a model that is saved", _GATHER)
    type(model).save_pretrained(model, folder, state_dict=state)  # W is what is meant: no notice of it
    write_config(model, folder, processing_class)


def write_config(model: PreTrainedModel, folder: Path, processing_class: Any = None) -> None:
    """Write a model's config, with its tokenizer's padding token and without the path it is from."""
    config: Any = copy.deepcopy(model.config)
    config._name_or_path = ""
    padding = getattr(processing_class, "pad_token_id", None)
    if padding is not None:
        config.pad_token_id = padding
    config.save_pretrained(folder)


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of a model that has no ``save_pretrained``.

    Raises:
        ModelError: If it holds more than tensors.
        ProcessError: If its weights are sharded.
    """
    check_unsharded(model.named_parameters(), "a model that is saved", _GATHER)
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ModelError(
                f"Cannot save {type(model).__name__}: expected a state_dict of tensors, got"
                f" {type(value).__name__} for {name!r}. Save the model your own way."
            )
    return state


_GATHER = "Save by the result of agwm.finetune, in all processes."

_ABOUT = """An injected model, saved by agwm {version}: the task weights `W` of a `{name}` (in `{weights}`),
its pretrained weights `W0` (`{pretrained}`) and the factors of the attention parameters
alpha (`{attention}`). It computes with the mixed weights, which `agwm.load`
puts together; `from_pretrained` loads `W` alone."""

_CODE = """import agwm

mixup = agwm.load(".")
model = mixup.merge()  # a plain model, with the mixed weights
"""

_CODE_OF_TOKENIZER = """
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
print(model(**tokenizer("A text.", return_tensors="pt", truncation=True)))
"""


def save(
    directory: str | Path,
    model: nn.Module,
    formula: str,
    alpha_form: str,
    pretrained: Mapping[str, Tensor],
    attention: Attention,
    processing_class: Any = None,
    card: CardFacts | None = None,
) -> None:
    """Write W, W0 and alpha of an injected model into a folder.

    Args:
        directory: Folder to write; made if missing. An earlier save in it is replaced.
        model: The injected model.
        formula: ``"convex"`` or ``"factored"``.
        alpha_form: Name of the form of alpha, or of the user's class.
        pretrained: Weight name -> W0, for every mixed weight.
        attention: The factors of alpha of the same weights.
        processing_class: The model's tokenizer, saved beside it; None: none is saved.
        card: Facts for the card.

    Raises:
        ConfigError: If the tokenizer cannot be saved, or does not fit the model.
        DataError: If the folder cannot be written; an older save in it is unchanged.
        ModelError: If a plain model's state holds more than tensors.
    """
    check_processing_class(processing_class, model)
    facts = card or CardFacts()
    alphas = {name: attention[name] for name in pretrained}
    first = next(iter(alphas.values()))
    index = {
        "format": FORMAT,
        "agwm_version": __version__,
        "model_class": type(model).__name__,
        "is_hugging_face": isinstance(model, PreTrainedModel),
        "formula": formula,
        "alpha": alpha_form,
        "is_own_alpha": ALPHA_FORMS.get(alpha_form) is not type(first),
        "init_std": float(first.init_std),
        "weights": [
            {"name": name, "num_batch_dims": alpha.num_batch_dims} for name, alpha in alphas.items()
        ],
    }
    with whole_folder(directory) as folder:
        if isinstance(model, PreTrainedModel):
            write_hugging_face(model, folder, processing_class)
        else:
            write_tensors(folder / TASK_FILE, plain_state(model))
        if processing_class is not None:
            write_processing_class(processing_class, folder, facts.max_length)
        write_tensors(folder / PRETRAINED_FILE, pretrained)
        write_tensors(folder / ATTENTION_FILE, attention.state_dict())
        write_json(folder / INDEX_FILE, index)
        write_text(folder / CARD_FILE, _card(model, index, processing_class is not None, facts))


def _card(model: nn.Module, index: Mapping[str, Any], has_tokenizer: bool, facts: CardFacts) -> str:
    about = _ABOUT.format(
        version=__version__,
        name=index["model_class"],
        weights="model.safetensors" if index["is_hugging_face"] else TASK_FILE,
        pretrained=PRETRAINED_FILE,
        attention=ATTENTION_FILE,
    )
    code = _CODE + (_CODE_OF_TOKENIZER if has_tokenizer else "")
    if not loading_code(model, False):
        code = code.replace('(".")', '(".", model=model)  # a model of the same class and sizes', 1)
    return card_text(model, about, code, facts)
