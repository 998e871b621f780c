"""Write and read what ``MixupTrainer`` keeps beside the model of a checkpoint: W, alpha, a digest of W0."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.trainer_utils import get_last_checkpoint

from agwm.errors import ConfigError, shown
from agwm.files import load_tree, save_tree
from agwm.mixing.alpha import Attention
from agwm.mixing.injection import inject
from agwm.mixing.mixup import Mixup
from agwm.recipe.config import MixingConfig, plain_dict
from agwm.recipe.run_checkpoints import digest_of_tensors

__all__ = ["inject_saved", "mixed_state", "put_weights", "read_state", "stands_in_search", "write_state"]

STATE_FILE = "agwm_search.safetensors"
_REMEDY = "Build the Trainer as the one that wrote it, on the same pretrained model, or start anew."


@torch.no_grad()
def mixed_state(mixup: Mixup) -> dict[str, Tensor]:
    """Return the state of the model with the mixed weights in the place of W, under all their names."""
    state = mixup.model.state_dict()
    for name, mixed in mixup.mixed_weights().items():
        for alias in mixup.candidates[name].aliases:
            state[alias] = mixed.detach()
    return state


def write_state(folder: Path, mixup: Mixup, initial: Attention, mixing: MixingConfig) -> None:
    """Write W of the mixed weights, alpha and a digest of W0 into the folder of a checkpoint."""
    tree = {
        "mixing": plain_dict(mixing),
        "pretrained": digest_of_tensors(mixup.pretrained.items()),
        "W": {name: one.task_weights for name, one in mixup.candidates.items()},
        "attention": mixup.attention.state_dict(),
        "initial": initial.state_dict(),
    }
    save_tree(folder / STATE_FILE, tree)


def read_state(folder: Path) -> dict[str, Any]:
    """Return what :func:`write_state` wrote into the folder of a checkpoint.

    Raises:
        DataError: If the checkpoint has no such file, or it is damaged.
    """
    return load_tree(folder / STATE_FILE)


def inject_saved(
    folder: Path, tree: Mapping[str, Any], model: nn.Module, mixing: MixingConfig
) -> tuple[Mixup, Attention]:
    """Inject a pretrained model with the alpha of a checkpoint; its W stays at W0.

    Args:
        folder: The checkpoint, for messages.
        tree: The result of :func:`read_state`.
        model: The model as it was pretrained.
        mixing: The settings, which have to be those of the checkpoint.

    Returns:
        The mixup, and the start of its alpha.

    Raises:
        ConfigError: If the checkpoint is of other settings, or of other pretrained weights.
    """
    _compare(folder, "settings of the mixing", plain_dict(mixing), tree["mixing"])
    mixup = inject(model, **dataclasses.asdict(mixing), seed=0)
    try:
        found = digest_of_tensors(mixup.pretrained.items())
        _compare(folder, "pretrained weights W0 of digest", found, tree["pretrained"])
        initial = _loaded(mixup.attention, tree["initial"])
        mixup.attention.load_state_dict(tree["attention"])
    except BaseException:
        mixup.remove()
        raise
    mixup.attention.requires_grad_(False)
    return mixup, initial


@torch.no_grad()
def put_weights(tree: Mapping[str, Any], mixup: Mixup) -> None:
    """Put W of the mixed weights, as :func:`read_state` gives them, into the model."""
    for name, value in tree["W"].items():
        mixup.candidates[name].task_weights.copy_(value)


def stands_in_search(folder: Path, search: str) -> bool:
    """Return whether a run of an output folder is before the first checkpoint of its second phase.

    Those that are older than the search's own are of an earlier run.

    Args:
        folder: The output folder.
        search: Name of the folder in it with the search's checkpoints.
    """
    own = [path.stat().st_mtime_ns for path in (folder / search).rglob("*.safetensors")]
    last = get_last_checkpoint(str(folder)) if own else None
    return bool(own) and (last is None or max(own) > Path(last).stat().st_mtime_ns)


def _loaded(attention: Attention, state: dict[str, Tensor]) -> Attention:
    twin = copy.deepcopy(attention)
    twin.load_state_dict(state)
    return twin


def _compare(folder: Path, what: str, expected: Any, got: Any) -> None:
    if expected != got:
        raise ConfigError(
            f"Checkpoint {shown(folder)} is of another run: expected {what} {shown(expected)}, got"
            f" {shown(got)}. {_REMEDY}"
        )
