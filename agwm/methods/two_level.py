"""The two-level recipe as a method of a run: agwm itself, and its controls that do not learn alpha."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from agwm.cards import CardFacts
from agwm.errors import AgwmWarning
from agwm.methods.method import Job, Method, Outcome
from agwm.methods.pretrained_weights import inject_pretrained, pretrained_only
from agwm.mixing.alpha import Attention
from agwm.mixing.held import held
from agwm.models.families import is_regression
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig, MixingConfig
from agwm.recipe.finetune import finetune
from agwm.recipe.passes import finetune_passes
from agwm.recipe.search_doubts import DOUBTFUL
from agwm.training.config import TrainingConfig

__all__ = ["OF_ALPHA", "OF_LEARNING", "Agwm", "AsDrawn", "Frozen", "summaries", "summary_of"]

# Settings of the search without effect: OF_LEARNING if alpha is not learned, OF_ALPHA without outer passes.
OF_LEARNING = ("attention_learning_rate", "attention_weight_decay", "attention_schedule", "roll_back")
OF_ALPHA = (*OF_LEARNING, "unroll_steps")


def summary_of(alpha: Tensor, start: Tensor) -> dict[str, float]:
    """Return the numbers on one weight's alpha that a record keeps.

    Args:
        alpha: The learned alpha, in full.
        start: The initial alpha, in full.
    """
    return {
        "mean": float(alpha.double().mean()),
        "min": float(alpha.min()),
        "max": float(alpha.max()),
        "from_start": float((alpha.double() - start.double()).abs().mean()),
    }


def summaries(attention: Attention, initial: Attention) -> dict[str, dict[str, float]]:
    """Return the numbers on alpha that a record keeps, by the name of the weight."""
    starts = initial.in_full()
    return {name: summary_of(alpha, starts[name]) for name, alpha in attention.in_full().items()}


class Agwm(Method):
    """Attention-guided weights mixup: run searches, average them, then finetune with alpha fixed."""

    name = "agwm"
    acts_on: ClassVar[tuple[str, ...]] = ("reparametrization", "gradient", "optimizer")
    sections: ClassVar[tuple[str, ...]] = ("mixing", "hypergradient", "search", "final")
    learns_alpha = True
    control: ClassVar[str | None] = "frozen"
    passes_per_step: ClassVar[int | str] = "2 to 4 in the search, then 1"

    def recipe(self, config: FinetuneConfig) -> FinetuneConfig:
        """Return the recipe's settings for this method."""
        return config

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if no weight can be mixed."""
        inject_pretrained(loaded, self.recipe(recipe).mixing).remove()

    def passes(
        self, training: TrainingConfig, recipe: FinetuneConfig, num_examples: int, is_regression: bool
    ) -> float:
        """Return the number of passes that the recipe takes."""
        return finetune_passes(self.recipe(recipe), num_examples)

    def run(self, job: Job) -> Outcome:
        """Finetune by :func:`agwm.finetune`."""
        config = self.recipe(job.recipe)
        config = dataclasses.replace(config, mixing=pretrained_only(config.mixing, job.loaded))
        with warnings.catch_warnings():  # who runs methods tells the user beforehand
            warnings.filterwarnings("ignore", DOUBTFUL, AgwmWarning)
            result = finetune(
                job.loaded.model,
                job.examples,
                collate=job.collate,
                processing_class=job.loaded.tokenizer,
                evaluate=job.evaluate,
                config=config,
                progress=job.progress,
                checkpoint_dir=job.checkpoints,
            )

        def write(folder: Path, facts: CardFacts) -> None:
            result.check()
            result.write_into(folder, job.loaded.tokenizer, dataclasses.replace(facts, method=self.name))

        return Outcome(
            model=result.model,
            passes=self.passes(job.training, job.recipe, len(job.examples), is_regression(result.model)),
            history=result.history,
            write=write,
            alpha=summaries(result.attention, result.initial_attention),
            seconds={stage: round(seconds, 3) for stage, seconds in result.seconds.items()},
        )


class _Unlearned(Agwm):
    """The recipe without an outer pass.

    The outer passes of agwm draw from a random stream of their own. So the search of a control sees the
    very dropout masks of agwm's, beside the same splits and batches.
    """

    acts_on: ClassVar[tuple[str, ...]] = ()
    learns_alpha = False
    card = "agwm"
    passes_per_step = 1

    def unused(self) -> frozenset[str]:
        """Return the dotted names of the search's settings of alpha, which have no effect."""
        return frozenset(f"search.{key}" for key in OF_ALPHA)


class Frozen(_Unlearned):
    """The control: the same stages, splits, averaging, dropout masks and passes on W, with alpha held at 1.

    The control mixes nothing and makes no outer pass. So it does not use ``mixing``, ``hypergradient`` and
    the search's settings of alpha. Its weights are to the bit those of agwm with ``mixing.init_std`` and
    ``search.attention_learning_rate`` at 0, where outer passes change no running statistics of the model.
    """

    name = "frozen"
    sections = ("search", "final")
    control = None

    def recipe(self, config: FinetuneConfig) -> FinetuneConfig:
        """Return the settings with alpha held at 1."""
        return dataclasses.replace(config, mixing=MixingConfig(alpha="frozen"))


class AsDrawn(_Unlearned):
    """The control of learning: the same as agwm, with alpha as it is drawn at the start of each search.

    Its weights are to the bit those of agwm with ``search.attention_learning_rate`` at 0, where outer
    passes change no running statistics of the model. It makes no outer pass.
    """

    name = "as_drawn"
    acts_on = ("reparametrization",)
    sections = ("mixing", "search", "final")

    def recipe(self, config: FinetuneConfig) -> FinetuneConfig:
        """Return the settings with a form of alpha that is not learned."""
        mixing = dataclasses.replace(config.mixing, alpha=held(config.mixing.alpha))
        return dataclasses.replace(config, mixing=mixing)
