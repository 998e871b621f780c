"""Material of a model selection: rows as the model reads them, and the model as it was loaded."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from agwm.data.tasks import Task
from agwm.model_selection.options import FitOptions
from agwm.models.pretrained import Pretrained, load_pretrained, pick_device

__all__ = ["Material", "fresh_model"]


@dataclass(frozen=True)
class Material:
    """Everything that a cell needs to be run in any process.

    Attributes:
        task: The task.
        examples: Encoded rows with ``labels``.
        labels: Right labels, as :mod:`agwm.evaluation.scores` takes them.
        options: Options of the selection.
        max_length: Tokens at which rows are cut.
        threads: Threads of torch in a process.
    """

    task: Task
    examples: Sequence[dict[str, Any]]
    labels: np.ndarray
    options: FitOptions
    max_length: int
    threads: int

    @property
    def device(self) -> torch.device:
        """Device of the models."""
        return pick_device(self.options.device)


def fresh_model(material: Material, seed: int) -> Pretrained:
    """Return the pretrained model with a head that a seed draws, on its device, as if just loaded."""
    options, names = material.options, material.task.label_names
    loaded = _loaded(options.model, names, material.task.problem_type, seed, options.trust_remote_code)
    model = copy.deepcopy(loaded.model)
    nn.Module.to(model, material.device)
    return replace(loaded, model=model)


@functools.lru_cache(maxsize=1)  # a process needs one at a time
def _loaded(
    name: str, label_names: tuple[str, ...] | None, problem_type: str, seed: int, trust_remote_code: bool
) -> Pretrained:
    return load_pretrained(name, label_names, seed, trust_remote_code, problem_type)
