"""Save an injected model as a folder: W as Hugging Face writes it, W0, alpha, and an index.

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

from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm._version import __version__
from agwm.errors import ModelError
from agwm.files import make_folder, write_json, write_whole
from agwm.mixing.alpha import ALPHA_FORMS, Attention

__all__ = ["plain_state", "save", "write_hugging_face", "write_tensors"]

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


def write_hugging_face(model: PreTrainedModel, folder: Path) -> None:
    """Let the model write itself aside, then move its files in and delete the files of an older save."""
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".saving."))
    try:
        type(model).save_pretrained(model, temporary)  # W is what is meant: no notice of it
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


def save(
    directory: str | Path,
    model: nn.Module,
    formula: str,
    alpha_form: str,
    pretrained: Mapping[str, Tensor],
    attention: Attention,
) -> None:
    """Write W, W0 and alpha of an injected model into a folder.

    Args:
        directory: Folder to write; made if missing. An earlier save in it is replaced.
        model: The injected model.
        formula: ``"convex"`` or ``"factored"``.
        alpha_form: Name of the form of alpha, or of the user's class.
        pretrained: Weight name -> W0, for every mixed weight.
        attention: The factors of alpha of the same weights.

    Raises:
        DataError: If the folder cannot be written.
        ModelError: If a plain model's state holds more than tensors.
    """
    folder = make_folder(directory)
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
    # load() takes no folder without an index, so it takes none that is half replaced
    (folder / INDEX_FILE).unlink(missing_ok=True)
    if isinstance(model, PreTrainedModel):
        write_hugging_face(model, folder)
    else:
        write_tensors(folder / TASK_FILE, plain_state(model))
    write_tensors(folder / PRETRAINED_FILE, pretrained)
    write_tensors(folder / ATTENTION_FILE, attention.state_dict())
    write_json(folder / INDEX_FILE, index)
