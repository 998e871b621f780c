"""Base classes of the methods of finetuning."""

from __future__ import annotations

import functools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from torch import nn
from transformers import PreTrainedModel

from agwm.cards import CardFacts
from agwm.checks import Interval, NonNegative, check_fields
from agwm.errors import MethodError
from agwm.finiteness import check_weights
from agwm.methods.job import Job, Outcome
from agwm.methods.plain_checkpoint import write_plain
from agwm.models.families import is_regression
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.passes import training_passes
from agwm.training.class_weights import class_weighted
from agwm.training.config import TrainingConfig
from agwm.training.hooks import TrainingHooks
from agwm.training.loop import Evaluate, train

__all__ = ["PLACES", "Job", "Method", "OneLevelMethod", "Outcome", "Settings"]

# Places in which a method can differ from vanilla finetuning.
PLACES: tuple[str, ...] = ("initialization", "reparametrization", "loss", "gradient", "optimizer")


@dataclass(frozen=True)
class Settings:
    """Settings that every one-level method has.

    Attributes:
        learning_rate: Peak learning rate; None: the rate of ``vanilla``.
        epochs: Passes over the training set; None: as many as ``vanilla`` makes.
    """

    learning_rate: NonNegative | None = None
    epochs: Annotated[int, Interval(0)] | None = None

    def __post_init__(self) -> None:
        check_fields(self)


S = TypeVar("S")
Run = Callable[[Any, Job], Outcome]


def _weighted(run: Run) -> Run:
    """Return a method's ``run`` in which the loss has the job's class weights."""

    @functools.wraps(run)
    def weighted(method: Any, job: Job) -> Outcome:
        with class_weighted(job.loaded.model, job.class_weights):
            return run(method, job)

    return weighted


class Method(ABC, Generic[S]):
    """A way of finetuning. One object serves one run.

    Class attributes:
        name: Name of the method in configs, tables and files.
        acts_on: The members of ``PLACES`` that it changes.
        settings_class: Class of its own settings, ``rivals.<name>`` in a config; None: it has none there.
        sections: Names of the config's other sections that affect the outcome; but see :meth:`unused`.
        learns_alpha: True if it trains the attention parameters.
        control: Name of the method that differs from it only in holding alpha at 1; None: there is none.
        card: Name of the method whose card describes it too; None: it has a card of its own.
        passes_per_step: Forward and backward passes of a batch in a step; a text if stages differ.
        is_seeded: True if the seed of a run decides anything.
        replaces_head: True if it may put a head of its own in place of the model's.

    Args:
        settings: The method's own settings; None: the defaults.
    """

    name: ClassVar[str]
    acts_on: ClassVar[tuple[str, ...]] = ()
    settings_class: ClassVar[type | None] = None
    sections: ClassVar[tuple[str, ...]] = ("vanilla",)
    learns_alpha: ClassVar[bool] = False
    control: ClassVar[str | None] = None
    card: ClassVar[str | None] = None
    passes_per_step: ClassVar[int | str] = 1
    is_seeded: ClassVar[bool] = True
    replaces_head: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "run" in vars(cls):  # every method's loss is weighted here, also those of other projects
            cls.run = _weighted(cls.run)  # type: ignore[method-assign, assignment]

    def __init__(self, settings: S | None = None) -> None:
        if settings is None and self.settings_class is not None:
            settings = self.settings_class()
        self.settings: Any = settings

    @classmethod
    def searches_alpha(cls) -> bool:
        """Return whether it trains alpha in a search, on examples that W is not trained on."""
        return cls.learns_alpha and "search" in cls.sections

    def unused(self) -> frozenset[str]:
        """Return the dotted names of the settings in ``sections`` that have no effect."""
        return frozenset()

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if the method cannot work on a model. A run calls this before any training.

        Args:
            loaded: The model. The method does not change it here.
            recipe: Settings of the two-level recipe.

        Raises:
            MethodError: If the method cannot work on the model.
        """

    def check_length(self, model: PreTrainedModel, max_length: int) -> None:
        """Raise if the vectors that the method puts before the tokens make examples too long.

        Args:
            model: The pretrained model. The method does not change it here.
            max_length: Number of tokens in the longest example.

        Raises:
            MethodError: If an example would be longer than the model reads.
        """

    @abstractmethod
    def passes(
        self, training: TrainingConfig, recipe: FinetuneConfig, num_examples: int, is_regression: bool
    ) -> float:
        """Return the number of forward and backward passes of a batch that a run will take.

        Args:
            training: Settings of one-level training, ``vanilla`` in a config.
            recipe: Settings of the two-level recipe.
            num_examples: Number of training examples.
            is_regression: True if labels are scores, not classes.
        """

    @abstractmethod
    def run(self, job: Job) -> Outcome:
        """Finetune the model of the job. The losses that it computes while this runs have class weights.

        Args:
            job: Model, examples and settings.

        Raises:
            MethodError: If the method does not fit the model.
            ConfigError: If there are class weights, and the model is a regression.
        """

    def refuse(self, model: nn.Module, reason: str, remedy: str = "Choose another method.") -> MethodError:
        """Return an error that explains why this method cannot finetune a model.

        Args:
            model: The model.
            reason: The text "expected X, got Y."
            remedy: Advice to the user. It names the setting that helps, if there is one.
        """
        return MethodError(f"Method {self.name!r} does not fit {type(model).__name__}: {reason} {remedy}")


class OneLevelMethod(TrainingHooks, Method[S]):
    """Base class of the methods that train one model once on all examples, by :class:`TrainingHooks`."""

    settings_class: ClassVar[type | None] = Settings
    passes_per_step: ClassVar[int] = 1

    def initialize(self, loaded: Pretrained, seed: int) -> None:
        """Change the pretrained model before training: set new weights, or freeze some.

        Args:
            loaded: The model; changed in place.
            seed: Seed of all random draws.
        """

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Return the model to train: the given one, changed in place, or a wrapper around it."""
        return loaded.model

    def finish(self, model: nn.Module) -> nn.Module:
        """Return the model after training. It is plain if the method can be merged into it."""
        return model

    def alpha(self) -> dict[str, dict[str, float]]:
        """Return mean, min and max of alpha of each mixed weight; empty without mixing."""
        return {}

    def _own(self) -> dict[str, Any]:
        """Return the training settings for which this method has its own values."""
        own = {name: getattr(self.settings, name, None) for name in ("learning_rate", "epochs")}
        return {name: value for name, value in own.items() if value is not None}

    def unused(self) -> frozenset[str]:
        """Return the dotted names of vanilla's settings that this method's own values replace."""
        return super().unused() | {f"vanilla.{name}" for name in self._own()}

    def training(self, config: TrainingConfig) -> TrainingConfig:
        """Return the given settings of training, with this method's own values in their place."""
        return replace(config, **self._own())

    def step_passes(self, is_regression: bool) -> int:
        """Return the forward and backward passes of a batch in a step.

        Args:
            is_regression: True if labels are scores, not classes.
        """
        return self.passes_per_step

    def extra_passes(self, num_batches: int) -> float:
        """Return the number of passes outside the steps. A forward pass alone counts as a third.

        Args:
            num_batches: Number of batches in an epoch.
        """
        return 0

    def passes(
        self, training: TrainingConfig, recipe: FinetuneConfig, num_examples: int, is_regression: bool
    ) -> float:
        """Return the number of passes, in all steps and outside them."""
        own = self.training(training)
        num_batches = training_passes(replace(own, epochs=1), num_examples)
        steps = own.epochs * num_batches
        return steps * self.step_passes(is_regression) + self.extra_passes(num_batches)

    def train_once(
        self,
        model: nn.Module,
        job: Job,
        examples: Sequence[Any],
        seed: int,
        phase: str = "",
        evaluate: Evaluate | None = None,
    ) -> list[dict[str, Any]]:
        """Train the model on examples, in place, and return the history.

        Args:
            model: The model to train, as :meth:`reparametrize` returned it.
            job: The job, with its settings.
            examples: All examples of the job, or a part of them.
            seed: Seed of data order and dropout.
            phase: Name of this training, behind the method's name.
            evaluate: Function of the model that returns scores.
        """
        return train(
            model,
            examples,
            collate=job.collate,
            config=self.training(job.training),
            seed=seed,
            evaluate=evaluate,
            phase=self.name + phase,
            progress=job.progress,
            hooks=self,
            rate_section=f"rivals.{self.name}" if "learning_rate" in self._own() else None,
            stage=None if job.checkpoints is None else job.checkpoints.stage(self.name + phase),
        )

    def fit(self, model: nn.Module, job: Job) -> list[dict[str, Any]]:
        """Train the model on all examples, in place, and return the history."""
        return self.train_once(model, job, job.examples, job.seed, evaluate=job.evaluate)

    def run(self, job: Job) -> Outcome:
        """Finetune on all examples."""
        kind = is_regression(job.loaded.model)
        passes = self.passes(job.training, job.recipe, len(job.examples), kind)
        start = time.perf_counter()
        self.initialize(job.loaded, job.seed)
        model = self.reparametrize(job.loaded, job.recipe, job.seed)
        history = self.fit(model, job)
        alpha = self.alpha()
        finished: Any = self.finish(model)
        seconds = {self.name: round(time.perf_counter() - start, 3)}

        def write(folder: Path, facts: CardFacts) -> None:
            check_weights(finished, "", "It is not saved: train again with a lower learning rate.")
            self.write(finished, job.loaded.tokenizer, folder, replace(facts, method=self.name))

        return Outcome(finished, passes, history, write, alpha, seconds)

    def write(self, model: Any, tokenizer: Any, folder: Path, facts: CardFacts) -> None:
        """Write the finished model, its tokenizer and its card into a new folder."""
        write_plain(model, tokenizer, folder, facts)
