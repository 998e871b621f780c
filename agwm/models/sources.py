"""Find the files of a pretrained model: a packaged one, a folder, or a name on the hub."""

from __future__ import annotations

import json
import os
from pathlib import Path

from huggingface_hub import HfApi, constants, try_to_load_from_cache

from agwm.errors import ModelError, close_names, shown
from agwm.models.packaged.catalogue import MODELS

__all__ = ["PACKAGED_MODEL", "is_packaged", "locate", "packaged_notes"]

PACKAGED_MODEL = "minilm"
_PATIENCE = 10.0  # seconds to wait for the hub
_ADAPTER = "adapter_config.json"  # of peft
_MIXTURE = "agwm.json"  # of Mixup.save_pretrained


def locate(name: str) -> tuple[str, bool]:
    """Return the source to load from, and True if loading needs no network.

    Args:
        name: Name of a packaged model (:data:`agwm.models.packaged.catalogue.MODELS`), a folder, or a name
            on the hub. A packaged model goes before a folder of its name, which ``./`` reaches.

    Raises:
        MissingExtraError: If a packaged model is not installed.
        ModelError: If its packages are damaged, or a path is no folder of a model, or one of an adapter or
            a mixture.
    """
    if is_packaged(name):
        return str(MODELS[name].locate()), True
    # functions of os take any text: pathlib raises where a name is too long or a home is unknown
    path = Path(os.path.expanduser(name))
    if os.path.isdir(path):
        _check_folder(path)
        if not (path / "config.json").is_file():
            raise ModelError(
                f"No model in {str(path)!r}: expected a config.json beside weights and tokenizer, got none."
                " Point --model at a folder that save_pretrained wrote."
            )
        return str(path), True
    is_there = os.path.exists(path)
    if is_there or path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        got = "a file" if is_there else "nothing there"
        raise ModelError(
            f"Model path {shown(Path(name))} is wrong: expected a folder with a config.json, got {got}."
            " Check --model."
        )
    return name, _is_cached_only(name)


def is_packaged(name: str) -> bool:
    """Return True if a name is that of a packaged model."""
    return name in MODELS


def packaged_notes(name: str) -> list[str]:
    """Return lines on what was done to the weights of a packaged model; none for another."""
    return [MODELS[name].note] if is_packaged(name) and MODELS[name].note else []


def _check_folder(path: Path) -> None:
    """Refuse folders from which transformers would load another model than they hold.

    Beside the config of an adapter it loads the adapter's base. In a mixture it finds W alone.

    Raises:
        ModelError: If the folder is of an adapter or a mixture.
    """
    if (path / _ADAPTER).is_file():
        try:
            base = json.loads((path / _ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
        except (OSError, ValueError, LookupError, TypeError):
            base = "unknown"
        raise ModelError(
            f"Cannot load model {str(path)!r}: expected a whole model, got an adapter of peft (its base"
            f" is {str(base)[:100]!r}). Merge it into its base (merge_and_unload), save that, and pass it"
            " as --model."
        )
    if (path / _MIXTURE).is_file():
        raise ModelError(
            f"Cannot load model {str(path)!r}: expected a plain model, got a mixture ({_MIXTURE} beside"
            " task and pretrained weights). Load it by agwm.load, merge() it, save the model, and pass that"
            " as --model."
        )


def _is_cached_only(name: str) -> bool:
    """Return True if only the local cache has the model. Ask the hub once before.

    The hub's own client would retry for half a minute.

    Raises:
        ModelError: If neither the hub nor the cache has the model.
    """
    reason = "no connection, since HF_HUB_OFFLINE is set"
    if not constants.HF_HUB_OFFLINE:
        try:
            HfApi().model_info(name, timeout=_PATIENCE)
            return False
        except Exception as error:  # the hub client raises many unrelated classes
            reason = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
    try:
        is_cached = isinstance(try_to_load_from_cache(name, "config.json"), str)
    except ValueError:  # no valid name on the hub
        is_cached = False
    if is_cached:
        return True
    raise ModelError(
        f"Cannot get model {shown(name)} from the Hugging Face hub: expected it there, got {reason}. Pass a"
        " folder as --model, or --model minilm (extra 'offline'); data come without network by --data-dir."
        f"{close_names(name, MODELS)}"
    )
