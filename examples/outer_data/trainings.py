"""Trainings on inner and outer examples: the search of agwm, and plain ones that it has to beat.

Each takes a ground, settings and a seed, and returns the finetuned model. W makes as many passes over its
examples in all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

import agwm
from agwm.methods.pull import pull_
from agwm.training.hooks import TrainingHooks
from agwm.training.lengths import GroupedByLength
from agwm.training.loop import train
from outer_data.ground import Ground, Rows


@dataclass(frozen=True)
class Settings:
    """Settings of a run.

    Attributes:
        learning_rate: Of W.
        attention_learning_rate: Of alpha.
        strength: Of the decay towards W0.
        epochs: Passes over the inner examples.
    """

    learning_rate: float = 1e-4
    attention_learning_rate: float = 5e-2
    strength: float = 0.0
    epochs: int = 8


def _trained(
    ground: Ground, rows: Rows, settings: Settings, seed: int, hooks: TrainingHooks | None = None
) -> nn.Module:
    model = ground.make_model()
    config = agwm.TrainingConfig(epochs=settings.epochs, learning_rate=settings.learning_rate)
    train(model, rows, collate=ground.collate, config=config, seed=seed, progress=False, hooks=hooks)
    return model


def plain(ground: Ground, settings: Settings, seed: int) -> nn.Module:
    """Finetune on the inner examples alone."""
    return _trained(ground, ground.inner, settings, seed)


def union(ground: Ground, settings: Settings, seed: int) -> nn.Module:
    """Finetune on the inner and the outer examples together (replay)."""
    return _trained(ground, GroupedByLength(ground.inner + ground.outer), settings, seed)


def outer_only(ground: Ground, settings: Settings, seed: int) -> nn.Module:
    """Finetune on the outer examples alone, in as many steps as the others."""
    epochs = round(settings.epochs * len(ground.inner) / len(ground.outer))
    longer = Settings(learning_rate=settings.learning_rate, epochs=epochs)
    return _trained(ground, ground.outer, longer, seed)


class _Pull(TrainingHooks):
    """Decoupled weight decay towards W0, in place of decay towards 0."""

    def __init__(self, start: dict[str, torch.Tensor], strength: float) -> None:
        self.start, self.strength = start, strength

    def make_optimizer(self, model: nn.Module, config: agwm.TrainingConfig) -> torch.optim.Optimizer:
        self.pulled = [(p, self.start[name]) for name, p in model.named_parameters() if name in self.start]
        return torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        strength = optimizer.param_groups[0]["lr"] * self.strength
        for parameter, start in self.pulled:
            pull_(parameter, start, strength)


def decay_to_start(ground: Ground, settings: Settings, seed: int) -> nn.Module:
    """Finetune on the inner examples, with weight decay towards W0."""
    return _trained(
        ground, ground.inner, settings, seed, _Pull(pretrained_weights(ground), settings.strength)
    )


def pretrained_weights(ground: Ground) -> dict[str, torch.Tensor]:
    """Return name -> W0, without new parameters."""
    named = ground.make_model().named_parameters()
    return {name: parameter.detach() for name, parameter in named if not name.startswith(ground.new)}


def searched(form: str) -> Callable[[Ground, Settings, int], nn.Module]:
    """Return agwm with a form of alpha: one search on all inner and all outer examples, no final stage."""

    def run(ground: Ground, settings: Settings, seed: int) -> nn.Module:
        model = ground.make_model()
        include = None if ground.include is None else [ground.include]
        config = agwm.FinetuneConfig(
            mixing=agwm.MixingConfig(alpha=form, include=include),
            hypergradient=agwm.Hypergradient(scheme="explicit"),
            search=agwm.SearchConfig(
                epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                attention_learning_rate=settings.attention_learning_rate,
                evaluations=0,
            ),
            final=agwm.TrainingConfig(epochs=0),
            seed=seed,
        )
        agwm.finetune(
            model,
            ground.inner,
            outer_dataset=ground.outer,
            collate=ground.collate,
            config=config,
            progress=False,
        )
        return model

    return run
