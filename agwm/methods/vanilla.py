"""Vanilla finetuning, and the control that gives it as many passes as agwm takes."""

from __future__ import annotations

from dataclasses import fields, replace

from agwm.methods.method import Job, OneLevelMethod, Outcome
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.passes import COUNTED, finetune_passes, same_passes
from agwm.training.config import TrainingConfig

__all__ = ["Vanilla", "VanillaLong"]


class Vanilla(OneLevelMethod):
    """Vanilla finetuning: AdamW on all weights."""

    name = "vanilla"
    settings_class = None


class VanillaLong(OneLevelMethod):
    """Vanilla finetuning of at least as many forward and backward passes as agwm takes."""

    name = "vanilla_long"
    settings_class = None
    card = "vanilla"
    # The settings of agwm decide the number of passes.
    sections = ("vanilla", "mixing", "hypergradient", "search", "final")

    def unused(self) -> frozenset[str]:
        """Return the settings of agwm that do not affect its number of passes."""
        keys = (
            f"{section}.{key.name}"
            for section in self.sections[1:]
            for key in fields(getattr(FinetuneConfig(), section))
        )
        return super().unused() | (frozenset(keys) - COUNTED)

    def passes(
        self, training: TrainingConfig, recipe: FinetuneConfig, num_examples: int, is_regression: bool
    ) -> float:
        """Return agwm's number of passes, rounded up to whole epochs of vanilla."""
        return super().passes(_longer(training, recipe, num_examples), recipe, num_examples, is_regression)

    def run(self, job: Job) -> Outcome:
        """Finetune on all examples."""
        longer = _longer(job.training, job.recipe, len(job.examples))
        return super().run(replace(job, training=longer))


def _longer(training: TrainingConfig, recipe: FinetuneConfig, num_examples: int) -> TrainingConfig:
    return same_passes(training, finetune_passes(recipe, num_examples), num_examples)
