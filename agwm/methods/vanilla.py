"""Vanilla finetuning, and the control that gives it as many passes as agwm takes."""

from __future__ import annotations

from dataclasses import fields, replace

from agwm.methods.method import Job, OneLevelMethod, Outcome
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.passes import COUNTED, finetune_passes, same_passes
from agwm.training.config import TrainingConfig

__all__ = ["Vanilla", "VanillaLong"]


class Vanilla(OneLevelMethod):
    """AdamW on all weights, and nothing else."""

    name = "vanilla"
    settings_class = None


class VanillaLong(OneLevelMethod):
    """Vanilla finetuning of at least as many forward and backward passes as agwm takes."""

    name = "vanilla_long"
    settings_class = None
    # The number of passes follows from the settings of agwm.
    sections = ("vanilla", "mixing", "hypergradient", "search", "final")

    def unused(self) -> frozenset[str]:
        """Return the settings of agwm that do not change how many passes it takes."""
        keys = (
            f"{section}.{key.name}"
            for section in self.sections[1:]
            for key in fields(getattr(FinetuneConfig(), section))
        )
        return super().unused() | (frozenset(keys) - COUNTED)

    def run(self, job: Job) -> Outcome:
        """Finetune on all examples."""
        num = len(job.examples)
        longer: TrainingConfig = same_passes(job.training, finetune_passes(job.recipe, num), num)
        return super().run(replace(job, training=longer))
