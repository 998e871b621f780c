"""Searches in float32 with dropout whose inner masks are noted, for tests of random streams."""

from __future__ import annotations

import random

import numpy as np
import torch

import agwm
from agwm.rng import seed_everything
from tests.search_runs import token_batches
from tests.tiny_models import tiny_bert

STEPS = 4


class Watched(agwm.TaskWeightProblem):
    """Inner problem that notes the dropout mask of each inner pass, the replayed ones left out."""

    def loss(self, batch):
        loss = super().loss(batch)
        if not self._recording.is_replaying:
            self.masks.append(self.model.seen)
        return loss


class Drawing(agwm.AttentionProblem):
    """Outer problem that draws from every generator there is, and from one that the model holds."""

    def loss(self, batch):
        drawn = [random.random(), np.random.rand(), float(torch.rand(())), self.model.noise.random()]
        self.drawn.append(drawn)
        return super().loss(batch) * (1 + sum(drawn))


def search(
    alpha="rank1", init_std=0.0, outer_lr=0.0, outer=agwm.AttentionProblem, gas=1, device="cpu", **options
):
    """Build a search in float32 with dropout, which starts from seed 5."""
    model = tiny_bert(dropout=0.1).to(device)
    dropout = model.bert.embeddings.dropout

    def see(module, inputs, output):
        model.seen = output == 0

    dropout.register_forward_hook(see)
    model.noise = np.random.default_rng(3)
    mixup = agwm.inject(model, alpha=alpha, init_std=init_std, seed=0)
    engine = agwm.build_engine(
        mixup,
        token_batches(3),
        token_batches(3, seed=1),
        torch.optim.AdamW(model.parameters(), lr=1e-2),
        torch.optim.AdamW(mixup.attention.parameters(), lr=outer_lr, weight_decay=0.0),
        **{"train_iters": STEPS} | options,
        gradient_accumulation=gas,
        gradient_clipping=1.0,
        inner=Watched,
        outer=outer,
        progress=False,
    )
    engine.inner.masks, engine.outer.drawn = [], []
    seed_everything(5)
    return engine


def weights(engine):
    return {name: weight.detach().clone() for name, weight in engine.inner.model.named_parameters()}


def same(first, second):
    return all(torch.equal(weight, second[name]) for name, weight in first.items())
