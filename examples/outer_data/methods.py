"""Ways to learn from inner and outer examples: agwm, and what it has to beat.

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
from agwm.methods.wise_ft import interpolate_
from agwm.training.hooks import TrainingHooks
from agwm.training.lengths import GroupedByLength
from agwm.training.loop import make_loader, train
from outer_data.ground import Ground, Rows

COEFFICIENTS = 10  # WiSE-FT tries 0, 0.1, ..., 1
EPOCHS_AFTER = 20  # of alpha after the fact, over the outer examples
OUTER_BATCH = 16


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


def wise_ft(ground: Ground, settings: Settings, seed: int) -> nn.Module:
    """Finetune plainly, then go back by one coefficient: that of the least loss on the outer examples."""
    model = plain(ground, settings, seed)
    tuned = {name: p.detach().clone() for name, p in model.named_parameters()}
    start = _start(ground)
    losses = {}
    for number in range(COEFFICIENTS + 1):
        interpolate_(model, start, tuned, number / COEFFICIENTS)
        losses[number / COEFFICIENTS] = _mean_loss(model, ground)
    interpolate_(model, start, tuned, min(losses, key=lambda c: losses[c]))
    return model


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
    return _trained(ground, ground.inner, settings, seed, _Pull(_start(ground), settings.strength))


def _start(ground: Ground) -> dict[str, torch.Tensor]:
    """Return name -> W0, without new parameters."""
    named = ground.make_model().named_parameters()
    return {name: parameter.detach() for name, parameter in named if not name.startswith(ground.new)}


def after(form: str) -> Callable[[Ground, Settings, int], nn.Module]:
    """Return the method that finetunes plainly, then learns alpha alone on the outer examples."""

    def run(ground: Ground, settings: Settings, seed: int) -> nn.Module:
        tuned = plain(ground, settings, seed).state_dict()
        model = ground.make_model()
        mixup = agwm.inject(model, include=ground.include, alpha=form, seed=seed)
        model.load_state_dict(tuned)  # W; the mixup has copies of W0
        model.requires_grad_(False).train()
        rate = settings.attention_learning_rate
        optimizer = torch.optim.AdamW(mixup.attention.parameters(), lr=rate, weight_decay=0.0)
        loader = make_loader(ground.outer, OUTER_BATCH, ground.collate, seed)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS_AFTER * len(loader))
        device = next(model.parameters()).device
        for _ in range(EPOCHS_AFTER):
            for batch in loader:
                model(**{name: tensor.to(device) for name, tensor in batch.items()}).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                mixup.attention.project_()
                schedule.step()
        mixup.merge()
        return model.requires_grad_(True).eval()

    return run


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


@torch.no_grad()
def _mean_loss(model: nn.Module, ground: Ground) -> float:
    device = next(model.parameters()).device
    batch = {name: tensor.to(device) for name, tensor in ground.collate(ground.outer).items()}
    return float(model.eval()(**batch).loss)


_RATES = (5e-5, 1e-4, 2e-4, 4e-4)
_RATES_OF_W = tuple(Settings(learning_rate=rate) for rate in _RATES)
_RATES_OF_BOTH = tuple(Settings(rate, own) for rate in (1e-4, 2e-4) for own in (2e-2, 1e-1))
_PULLS = tuple(Settings(rate, strength=pull) for rate in (1e-4, 2e-4) for pull in (30.0, 100.0))

# Name -> the method, and as many settings to choose from for each.
METHODS: dict[str, tuple[Callable[[Ground, Settings, int], nn.Module], tuple[Settings, ...]]] = {
    "plain": (plain, _RATES_OF_W),
    "union": (union, _RATES_OF_W),
    "outer_only": (outer_only, _RATES_OF_W),
    "wise_ft": (wise_ft, _RATES_OF_W),
    "decay_to_start": (decay_to_start, _PULLS),
    "after_scalar": (after("scalar"), _RATES_OF_BOTH),
    "after_rank1": (after("rank1"), _RATES_OF_BOTH),
    "agwm_scalar": (searched("scalar"), _RATES_OF_BOTH),
    "agwm_rank1": (searched("rank1"), _RATES_OF_BOTH),
}
