"""Vanilla finetuning, and the controls that give it as many steps or passes as agwm takes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import fields, replace

from agwm.methods.method import Job, OneLevelMethod, Outcome
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.passes import COUNTED, STEPS, finetune_passes, finetune_steps, same_passes
from agwm.training.config import TrainingConfig

__all__ = ["Vanilla", "VanillaLong", "VanillaSteps"]


class Vanilla(OneLevelMethod):
    """Vanilla finetuning: AdamW on all weights."""

    name = "vanilla"
    settings_class = None
    takes_shards = True


class _Longer(OneLevelMethod):
    """Vanilla finetuning whose number of epochs the settings of agwm decide."""

    settings_class = None
    card = "vanilla"
    counted: frozenset[str]

    @abstractmethod
    def least_passes(self, recipe: FinetuneConfig, num_examples: int) -> int:
        """Return the least number of passes."""

    def unused(self) -> frozenset[str]:
        """Return the settings of agwm that do not affect the number of epochs."""
        keys = (
            f"{section}.{key.name}"
            for section in self.sections[1:]
            for key in fields(getattr(FinetuneConfig(), section))
        )
        return super().unused() | (frozenset(keys) - self.counted)

    def passes(
        self, training: TrainingConfig, recipe: FinetuneConfig, num_examples: int, is_regression: bool
    ) -> float:
        """Return the number of passes, rounded up to whole epochs of vanilla."""
        longer = same_passes(training, self.least_passes(recipe, num_examples), num_examples)
        return super().passes(longer, recipe, num_examples, is_regression)

    def run(self, job: Job) -> Outcome:
        """Finetune on all examples."""
        num_examples = len(job.examples)
        longer = same_passes(job.training, self.least_passes(job.recipe, num_examples), num_examples)
        return super().run(replace(job, training=longer))


class VanillaSteps(_Longer):
    """Vanilla finetuning of at least as many optimizer steps on W as agwm takes, in all of its searches."""

    name = "vanilla_steps"
    sections = ("vanilla", "search", "final")
    counted = STEPS

    def least_passes(self, recipe: FinetuneConfig, num_examples: int) -> int:
        """Return the steps that agwm takes on W."""
        return finetune_steps(recipe, num_examples)


class VanillaLong(_Longer):
    """Vanilla finetuning of at least as many forward and backward passes as agwm takes."""

    name = "vanilla_long"
    sections = ("vanilla", "mixing", "hypergradient", "search", "final")
    counted = COUNTED

    def least_passes(self, recipe: FinetuneConfig, num_examples: int) -> int:
        """Return the passes that agwm takes."""
        return finetune_passes(recipe, num_examples)
