"""The two-level recipe as a method of a run: agwm itself, and its control with alpha held at 1."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import Tensor

from agwm.attention import Attention
from agwm.finetune_config import FinetuneConfig
from agwm.loading import Pretrained
from agwm.methods.method import Job, Method, Outcome
from agwm.mixup import inject
from agwm.passes import finetune_passes
from agwm.recipe import finetune

__all__ = ["Agwm", "Frozen", "summaries", "summary_of"]


def summary_of(alpha: Tensor, start: Tensor) -> dict[str, float]:
    """Return what a record keeps of the alpha of one weight.

    Args:
        alpha: Learned, in full.
        start: What it started from, in full.
    """
    return {
        "mean": float(alpha.double().mean()),
        "min": float(alpha.min()),
        "max": float(alpha.max()),
        "from_start": float((alpha.double() - start.double()).abs().mean()),
    }


def summaries(attention: Attention, initial: Attention) -> dict[str, dict[str, float]]:
    """Return what a record keeps of alpha, by the name of the weight, beside what it started from."""
    starts = initial.in_full()
    return {name: summary_of(alpha, starts[name]) for name, alpha in attention.in_full().items()}


class Agwm(Method):
    """Attention-guided weights mixup: searches, their average, final finetuning with alpha fixed."""

    name = "agwm"
    acts_on = ("reparametrization", "gradient")
    sections = ("mixing", "hypergradient", "search", "final")

    def recipe(self, config: FinetuneConfig) -> FinetuneConfig:
        """Return the settings that this method runs the recipe with."""
        return config

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise where nothing can be mixed."""
        inject(loaded.model, **dataclasses.asdict(self.recipe(recipe).mixing)).remove()

    def run(self, job: Job) -> Outcome:
        """Finetune by :func:`agwm.finetune`."""
        config = self.recipe(job.recipe)
        result = finetune(
            job.loaded.model,
            job.examples,
            collate=job.collate,
            evaluate=job.evaluate,
            config=config,
            progress=job.progress,
        )

        def save(folder: Path) -> None:
            result.save_pretrained(folder)
            job.loaded.tokenizer.save_pretrained(folder)

        return Outcome(
            model=result.model,
            passes=finetune_passes(config, len(job.examples)),
            history=result.history,
            save=save,
            alpha=summaries(result.attention, result.initial_attention),
            seconds={stage: round(seconds, 3) for stage, seconds in result.seconds.items()},
        )


class Frozen(Agwm):
    """The control: the same stages, splits, averaging and passes on W, with alpha held at 1.

    ``mixing.alpha`` and ``mixing.formula`` are not used.
    """

    name = "frozen"
    acts_on = ()

    def recipe(self, config: FinetuneConfig) -> FinetuneConfig:
        """Return the settings with alpha held at 1."""
        mixing = dataclasses.replace(config.mixing, alpha="frozen", formula="convex")
        return dataclasses.replace(config, mixing=mixing)
