"""Settings of the recipe; the defaults are those of ``agwm/configs/default.yaml``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any

from agwm.checks import (
    Count,
    Fraction,
    Interval,
    NonNegative,
    Precision,
    Schedule,
    Seed,
    check_fields,
)
from agwm.errors import ConfigError
from agwm.hypergradient.settings import Hypergradient
from agwm.mixing.alpha import Alpha, AlphaForm, alpha_class
from agwm.mixing.functions import Formula
from agwm.training.config import TrainingConfig

__all__ = [
    "AlphaConfig",
    "FinetuneConfig",
    "MixingConfig",
    "SearchConfig",
    "cheap_hypergradient",
    "check_kind",
    "plain_dict",
]


def cheap_hypergradient() -> Hypergradient:
    """Return the recipe's default: scheme ``explicit``, half the passes of the ``central`` difference.

    Its cosine to the exact hypergradient is measured in ``docs/bench/whole_hypergradient.md``. A
    ``Hypergradient()`` of one's own has ``central``.
    """
    return Hypergradient(scheme="explicit")


@dataclass(frozen=True)
class MixingConfig:
    """Arguments of ``agwm.inject``.

    Attributes:
        formula: ``"convex"`` or ``"factored"``.
        alpha: Form of alpha: rank1, full, row, column, scalar, frozen; or a subclass of ``agwm.Alpha``.
        init_std: Standard deviation of the initial factors around 1.
        include: Glob patterns of weights to mix, or words that are a part of a name, such as ``"query"``;
            None: linear maps of the backbone.
        exclude: Glob patterns of weights to leave out.
    """

    formula: Formula = "convex"
    alpha: AlphaForm | type[Alpha] = "rank1"
    init_std: NonNegative = 0.005
    include: list[str] | None = None
    exclude: list[str] | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def learns_alpha(self) -> bool:
        """True if the form of alpha has anything to learn."""
        return alpha_class(self.alpha).is_learnable


@dataclass(frozen=True)
class SearchConfig(TrainingConfig):
    """The search of W and alpha on the two splits of the training set.

    ``epochs`` counts passes over the inner split, at least one; the other settings of
    :class:`TrainingConfig` are the inner optimizer's. With ``gradient_accumulation`` above 1 the outer
    batches are cut too, and each micro-batch but the last of a batch takes its forward pass twice.

    Attributes:
        num_resplits: K, the number of random splits over which W and alpha are averaged.
        outer_fraction: Part of the training set that is the outer split.
        stratified: Keep the label proportions in both splits; labels of a regression by fifths.
        attention_learning_rate: Peak learning rate of AdamW on alpha.
        attention_weight_decay: On alpha: pulls towards the pretrained weights.
        attention_schedule: As ``schedule``, for alpha.
        unroll_steps: Inner steps for each outer step.
        roll_back: Take the inner step again with the new alpha.
        evaluations: The search is evaluated on the evaluation set, if one is given, every
            ``steps // evaluations`` inner steps: so many times or somewhat more; 0: never.
    """

    epochs: Count = 3
    clipping: NonNegative = 5.0
    num_resplits: Count = 1
    outer_fraction: Annotated[float, Interval(0.01, 0.99)] = 0.2
    stratified: bool = False
    attention_learning_rate: NonNegative = 2e-3
    attention_weight_decay: NonNegative = 0.0
    attention_schedule: Schedule = "cosine"
    unroll_steps: Count = 1
    roll_back: bool = False
    evaluations: Annotated[int, Interval(0)] = 3


@dataclass(frozen=True)
class FinetuneConfig:
    """Everything that :func:`agwm.finetune` needs beside model and data.

    Attributes:
        mixing: The weights mixup.
        hypergradient: Settings of the hypergradient; see :func:`cheap_hypergradient`.
        search: First stage.
        final: Second stage: W on the whole training set, alpha fixed.
        seed: Decides splits, alpha, data order and dropout; on a CPU a run repeats bit for bit.
    """

    mixing: MixingConfig = field(default_factory=MixingConfig)
    hypergradient: Hypergradient = field(default_factory=cheap_hypergradient)
    search: SearchConfig = field(default_factory=SearchConfig)
    final: TrainingConfig = field(default_factory=TrainingConfig)
    seed: Seed = 1017

    def __post_init__(self) -> None:
        check_fields(self)

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain dicts, for result files and model cards."""
        return plain_dict(self)


@dataclass(frozen=True)
class AlphaConfig:
    """Everything that :func:`agwm.learn_alpha` needs beside model and data.

    The defaults are those that ``docs/outer_data.md`` measures, on 30 to 240 outer examples.

    Attributes:
        mixing: The weights mixup.
        epochs: Passes over the outer examples.
        batch_size: Examples per step.
        learning_rate: Peak learning rate of AdamW on alpha.
        weight_decay: On alpha: pulls towards the pretrained weights.
        schedule: As in :class:`agwm.TrainingConfig`.
        warmup_ratio: Part of the steps during which the learning rate rises from 0.
        gradient_accumulation: As in :class:`agwm.TrainingConfig`.
        precision: ``"fp32"``, or autocast in ``"bf16"`` or ``"fp16"``.
        seed: Decides alpha, data order and dropout; on a CPU a run repeats bit for bit.
    """

    mixing: MixingConfig = field(default_factory=MixingConfig)
    epochs: Count = 20
    batch_size: Count = 16
    learning_rate: NonNegative = 0.1
    weight_decay: NonNegative = 0.0
    schedule: Schedule = "cosine"
    warmup_ratio: Fraction = 0.0
    gradient_accumulation: Count = 1
    precision: Precision = "fp32"
    seed: Seed = 1017

    def __post_init__(self) -> None:
        check_fields(self)

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain dicts, for result files and model cards."""
        return plain_dict(self)


def check_kind(config: object, kind: type, example: str) -> None:
    """Raise unless a config is of its class.

    Args:
        config: What was given.
        kind: The class.
        example: Code that builds one, for the message.

    Raises:
        ConfigError: If it is not.
    """
    if not isinstance(config, kind):
        raise ConfigError(
            f"Config is of the wrong type: expected {kind.__name__}, got {type(config).__name__}. Build"
            f" one: {example}."
        )


def plain_dict(settings: Any) -> dict[str, Any]:
    """Return settings as nested dicts of plain values; a class, such as a form of alpha, by its name."""
    return dataclasses.asdict(
        settings,
        dict_factory=lambda items: {
            key: value.__name__ if isinstance(value, type) else value for key, value in items
        },
    )
