"""Settings of the recipe; the defaults are those of ``configs/default.yaml``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Literal

from agwm.errors import ConfigError
from agwm.hypergradient.settings import Hypergradient

__all__ = ["FinetuneConfig", "MixingConfig", "SearchConfig", "TrainingConfig"]

Schedule = Literal["linear", "cosine", "constant"]
Precision = Literal["fp32", "bf16", "fp16"]


def check_range(owner: object, name: str, low: float, high: float = float("inf")) -> None:
    """Raise unless the attribute is a number in [low, high].

    Raises:
        ConfigError: If it does not.
    """
    _check_number(owner, name, "a number", Real, low, high)


def check_integer(owner: object, name: str, low: int, high: float = float("inf")) -> None:
    """Raise unless the attribute is an integer in [low, high].

    Raises:
        ConfigError: If it is not.
    """
    _check_number(owner, name, "an integer", Integral, low, high)


def _check_number(owner: object, name: str, what: str, kind: type, low: float, high: float) -> None:
    value = getattr(owner, name)
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if not (is_number and low <= value <= high):
        limit = f">= {low:g}" if high == float("inf") else f"in [{low:g}, {high:g}]"
        raise ConfigError(
            f"{type(owner).__name__}.{name} is out of range: expected {what} {limit}, got {value!r}."
            " Correct it in the config."
        )


def check_choice(owner: object, name: str, choices: tuple[str, ...]) -> None:
    """Raise unless the attribute is one of ``choices``.

    Raises:
        ConfigError: If it is not.
    """
    value = getattr(owner, name)
    if value not in choices:
        raise ConfigError(
            f"{type(owner).__name__}.{name} is unknown: expected one of {', '.join(choices)},"
            f" got {value!r}. Correct it in the config."
        )


@dataclass(frozen=True)
class MixingConfig:
    """What ``agwm.inject`` is called with.

    Attributes:
        formula: ``"convex"`` or ``"factored"``.
        alpha: Form of alpha: rank1, full, row, column, scalar, frozen.
        init_std: Standard deviation of the initial factors around 1.
        include: Glob patterns of weights to mix; None: linear maps of the backbone.
        exclude: Glob patterns of weights to leave out.
    """

    formula: str = "convex"
    alpha: str = "rank1"
    init_std: float = 0.005
    include: list[str] | None = None
    exclude: list[str] | None = None

    def __post_init__(self) -> None:
        check_range(self, "init_std", 0.0)


@dataclass(frozen=True)
class TrainingConfig:
    """One-level training of W: vanilla finetuning, and the final stage of the recipe.

    Attributes:
        epochs: Passes over the training set.
        batch_size: Examples a step.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Decoupled, towards 0; not on biases and norms.
        schedule: ``"linear"`` or ``"cosine"`` decay to 0, or ``"constant"``, after the warm-up.
        warmup_ratio: Part of the steps in which the learning rate rises from 0.
        clipping: Largest norm of the gradient; 0: no clipping.
        precision: ``"fp32"``, or autocast in ``"bf16"`` or ``"fp16"``.
    """

    epochs: int = 3
    batch_size: int = 16
    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    schedule: Schedule = "linear"
    warmup_ratio: float = 0.1
    clipping: float = 1.0
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        check_integer(self, "epochs", 0)
        check_integer(self, "batch_size", 1)
        check_range(self, "learning_rate", 0.0)
        check_range(self, "weight_decay", 0.0)
        check_range(self, "warmup_ratio", 0.0, 1.0)
        check_range(self, "clipping", 0.0)
        check_choice(self, "schedule", ("linear", "cosine", "constant"))
        check_choice(self, "precision", ("fp32", "bf16", "fp16"))


@dataclass(frozen=True)
class SearchConfig(TrainingConfig):
    """The search of W and alpha on the two splits of the training set.

    ``epochs`` counts passes over the inner split, at least one; the other settings of
    :class:`TrainingConfig` are the inner optimizer's.

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

    clipping: float = 5.0
    num_resplits: int = 1
    outer_fraction: float = 0.2
    stratified: bool = False
    attention_learning_rate: float = 2e-3
    attention_weight_decay: float = 0.0
    attention_schedule: Schedule = "cosine"
    unroll_steps: int = 1
    roll_back: bool = False
    evaluations: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self, "epochs", 1)
        check_integer(self, "num_resplits", 1)
        check_range(self, "outer_fraction", 0.01, 0.99)
        check_range(self, "attention_learning_rate", 0.0)
        check_range(self, "attention_weight_decay", 0.0)
        check_integer(self, "unroll_steps", 1)
        check_integer(self, "evaluations", 0)
        check_choice(self, "attention_schedule", ("linear", "cosine", "constant"))


@dataclass(frozen=True)
class FinetuneConfig:
    """Everything that :func:`agwm.finetune` needs beside model and data.

    Attributes:
        mixing: The weights mixup.
        hypergradient: How alpha is differentiated.
        search: First stage.
        final: Second stage: W on the whole training set, alpha fixed.
        seed: Decides splits, alpha, data order and dropout; on a CPU a run repeats bit for bit.
    """

    mixing: MixingConfig = field(default_factory=MixingConfig)
    hypergradient: Hypergradient = field(default_factory=Hypergradient)
    search: SearchConfig = field(default_factory=SearchConfig)
    final: TrainingConfig = field(default_factory=TrainingConfig)
    seed: int = 1017

    def __post_init__(self) -> None:
        check_integer(self, "seed", 0, 2**32 - 1)
        for name, kind in (
            ("mixing", MixingConfig),
            ("hypergradient", Hypergradient),
            ("search", SearchConfig),
            ("final", TrainingConfig),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise ConfigError(
                    f"FinetuneConfig.{name} is of the wrong type: expected {kind.__name__}, got"
                    f" {type(value).__name__}. Build one of agwm.{kind.__name__}."
                )

    def to_dict(self) -> dict[str, object]:
        """Return nested plain dicts, for result files and model cards."""
        return dataclasses.asdict(self)
