"""How long a model selection will take: passes to make, and the time of one, measured."""

from __future__ import annotations

import copy
import time

import torch
from torch import nn

from agwm.batches import to_device
from agwm.data import DynamicPadding
from agwm.model_selection.material import Material
from agwm.models.pretrained import Pretrained
from agwm.rng import RngState
from agwm.training.config import TrainingConfig
from agwm.training.hooks import make_optimizer
from agwm.training.lengths import GroupedByLength
from agwm.training.loop import make_loader

__all__ = ["seconds_per_pass"]

_TIMED = 3  # steps; the first one is slower and not counted


def seconds_per_pass(material: Material, loaded: Pretrained) -> float:
    """Measure the time of one training step on a batch of the rows, with the threads of a process.

    Args:
        material: The rows.
        loaded: The model. It is copied; random states are restored.
    """
    device, threads = material.device, torch.get_num_threads()
    state = RngState.capture(device)
    torch.set_num_threads(material.threads)
    try:
        model = copy.deepcopy(loaded.model).train()
        nn.Module.to(model, device)
        optimizer = make_optimizer(model, TrainingConfig())
        examples = GroupedByLength(material.examples)
        loader = make_loader(examples, TrainingConfig().batch_size, DynamicPadding(loaded.tokenizer), 0)
        times = []
        for batch in list(loader)[:_TIMED]:
            start = time.perf_counter()
            model(**to_device(batch, device)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if device.type != "cpu":
                torch.accelerator.synchronize()
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
        state.restore()
    return sum(times[1:]) / len(times[1:]) if len(times) > 1 else times[0]
