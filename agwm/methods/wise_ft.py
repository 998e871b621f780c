"""Interpolate between pretrained and finetuned weights by one coefficient, chosen on held-out examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Subset

from agwm.batches import to_device
from agwm.checks import Count, Interval
from agwm.data.sampling import outer_split_size, split_train
from agwm.methods.method import Job, OneLevelMethod, Settings
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.passes import training_passes
from agwm.recipe.snapshot import Snapshot
from agwm.training.config import TrainingConfig
from agwm.training.loop import measure

__all__ = ["WiseFt", "WiseFtSettings", "interpolate_"]


@dataclass(frozen=True)
class WiseFtSettings(Settings):
    """Settings of :class:`WiseFt`.

    Attributes:
        held_out: Part of the examples on which the coefficient is chosen.
        num_intervals: The coefficients 0, 1/m, 2/m, ..., 1 are tried.
    """

    held_out: Annotated[float, Interval(0.05, 0.5)] = 0.2
    num_intervals: Count = 10


@torch.no_grad()
def interpolate_(
    model: nn.Module, pretrained: Mapping[str, Tensor], tuned: Mapping[str, Tensor], coefficient: float
) -> None:
    r"""Write :math:`W_0 + c (W - W_0)` into the parameters of a model.

    Args:
        model: The model; changed in place.
        pretrained: Name of a parameter -> W0. Parameters that are not in it are left alone.
        tuned: Name -> W, for the same names.
        coefficient: c. At 0 and 1 the weights are W0 and W to the bit.
    """
    for name, parameter in model.named_parameters():
        if name in pretrained:
            start = pretrained[name].to(parameter.device)
            parameter.copy_(torch.lerp(start, tuned[name].to(parameter.device), coefficient))


class WiseFt(OneLevelMethod):
    r"""Finetune as vanilla, then go a part of the way back: :math:`W_0 + c (W - W_0)`, one c for all.

    A first finetuning, on a part of the examples, serves to choose c by the loss on the rest. The second is
    on all examples. Weights without W0 (a new head) stay as finetuned.

    Reference:
        Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
    """

    name = "wise_ft"
    acts_on = ("reparametrization",)
    settings_class = WiseFtSettings

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Keep the pretrained weights, on the CPU."""
        new = set(loaded.fresh)
        self._pretrained = {
            name: parameter.detach().to("cpu", copy=True)
            for name, parameter in loaded.model.named_parameters()
            if name not in new
        }
        return loaded.model

    def passes(
        self, training: TrainingConfig, recipe: FinetuneConfig, num_examples: int, is_regression: bool
    ) -> float:
        """Return the passes of both finetunings, and of the forward passes that choose the coefficient."""
        own = self.training(training)
        held_out = outer_split_size(num_examples, self.settings.held_out)
        looks = (self.settings.num_intervals + 1) * -(-held_out // own.batch_size) / 3
        return training_passes(own, num_examples - held_out) + training_passes(own, num_examples) + looks

    def fit(self, model: nn.Module, job: Job) -> list[dict[str, Any]]:
        """Choose the coefficient, train on all examples, and interpolate."""
        rows = list(job.examples)
        inner, outer = _split(rows, self.settings.held_out, job.seed)
        start = Snapshot(model)
        part: Any = Subset(cast(Any, job.examples), inner)
        history = self.train_once(model, job, part, job.seed, " of a part")
        held_out = [rows[i] for i in outer]
        losses = self._losses(model, held_out, job)
        chosen = min(losses, key=lambda coefficient: losses[coefficient])
        start.restore_tensors()
        history += super().fit(model, job)
        interpolate_(model, self._pretrained, _weights(model), chosen)
        record: dict[str, Any] = {
            "phase": f"{self.name} at its coefficient",
            "step": history[-1]["step"] if history else 0,
            "coefficient": chosen,
            "held_out_loss": losses[chosen],
        }
        if job.evaluate is not None:
            record |= measure(model, job.evaluate)
        return [*history, record]

    def _losses(self, model: nn.Module, rows: Sequence[Any], job: Job) -> dict[float, float]:
        """Return coefficient -> mean loss on examples."""
        tuned, count = _weights(model), self.settings.num_intervals
        losses = {}
        for number in range(count + 1):
            interpolate_(model, self._pretrained, tuned, number / count)
            losses[number / count] = _mean_loss(model, rows, job)
        return losses


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def _split(rows: Sequence[Any], held_out: float, seed: int) -> tuple[list[int], list[int]]:
    """Split by class, or by fifths of the scores; with several labels an example at random."""
    labels = [np.asarray(row["labels"]) for row in rows]
    if any(label.ndim for label in labels):
        return split_train(len(rows), held_out, seed=seed)
    return split_train(np.stack(labels), held_out, seed=seed, stratified=True)


@torch.no_grad()
def _mean_loss(model: nn.Module, rows: Sequence[Any], job: Job) -> float:
    """Return the mean loss over batches, each weighted by its examples, in evaluation mode."""
    device, size, total = next(model.parameters()).device, job.training.batch_size, 0.0
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        batch = to_device(job.collate(list(part)), device)
        total += float(model(**batch).loss) * len(part)
    return total / len(rows)
