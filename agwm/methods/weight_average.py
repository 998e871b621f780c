"""Average the weights of several finetunings that differ in nothing but their random draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from agwm.checks import Count
from agwm.methods.method import Job, OneLevelMethod, Settings
from agwm.recipe.averaging import Mean, averaged
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.snapshot import Snapshot
from agwm.training.config import TrainingConfig
from agwm.training.loop import measure

__all__ = ["WeightAverage", "WeightAverageSettings"]


@dataclass(frozen=True)
class WeightAverageSettings(Settings):
    """Settings of :class:`WeightAverage`.

    Attributes:
        num_runs: S, the number of finetunings whose weights are averaged.
    """

    num_runs: Count = 3


class WeightAverage(OneLevelMethod):
    r"""Uniform soup: :math:`W = \frac{1}{S} \sum_s W_s`, with the head in it.

    All finetunings start from the same weights and the same head, so that their weights can be averaged.
    They differ in data order and dropout. The first is vanilla's of the same seed.

    Reference:
        Wortsman et al., "Model soups", ICML 2022.
    """

    name = "weight_average"
    settings_class = WeightAverageSettings

    def passes(
        self, training: TrainingConfig, recipe: FinetuneConfig, num_examples: int, is_regression: bool
    ) -> float:
        """Return the number of passes of all finetunings."""
        return self.settings.num_runs * super().passes(training, recipe, num_examples, is_regression)

    def fit(self, model: nn.Module, job: Job) -> list[dict[str, Any]]:
        """Train the model S times from the same start, and write the mean into it."""
        start, mean = Snapshot(model), Mean()
        history: list[dict[str, Any]] = []
        for number in range(self.settings.num_runs):
            if number:
                start.restore_tensors()
            seed = _seed_of(job.seed, number)
            history += self.train_once(model, job, job.examples, seed, f" {number + 1}", job.evaluate)
            mean.add(averaged(model))
        mean.write(averaged(model))
        if history and job.evaluate is not None:
            step = {"phase": self.name, "step": history[-1]["step"]}
            history.append(step | measure(model, job.evaluate))
        return history


def _seed_of(seed: int, number: int) -> int:
    """Return the seed of a finetuning; the first has the job's."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) if number else seed
