"""Settings of one-level training. ``agwm/configs/default.yaml`` has the same defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from agwm.checks import Count, Fraction, Interval, NonNegative, Precision, Schedule, check_fields

__all__ = ["TrainingConfig"]


@dataclass(frozen=True)
class TrainingConfig:
    """One-level training of W: vanilla finetuning, and the final stage of the recipe.

    Attributes:
        epochs: Passes over the training set.
        batch_size: Examples per step.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Decoupled decay towards 0. Biases and norms do not decay.
        schedule: ``"linear"`` or ``"cosine"`` decay to 0, or ``"constant"``, after the warm-up.
        warmup_ratio: Part of the steps during which the learning rate rises from 0.
        clipping: Largest allowed norm of the gradient; 0: no clipping.
        gradient_accumulation: Micro-batches that each batch is cut into. They go through the model one
            after another: memory holds the activations of one. The gradient is that of the whole batch
            where the loss is a mean over examples, up to dropout masks; a mean over something else, such
            as tokens or class weights, is weighted by examples.
        precision: ``"fp32"``, or autocast in ``"bf16"`` or ``"fp16"``.

    Raises:
        ConfigError: If a value is unknown or out of range.
    """

    epochs: Annotated[int, Interval(0)] = 3
    batch_size: Count = 16
    learning_rate: NonNegative = 2e-5
    weight_decay: NonNegative = 0.01
    schedule: Schedule = "linear"
    warmup_ratio: Fraction = 0.1
    clipping: NonNegative = 1.0
    gradient_accumulation: Count = 1
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        check_fields(self)
