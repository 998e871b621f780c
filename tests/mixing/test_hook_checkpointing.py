"""Layers recomputed in backward see the same mixed weights as in forward."""

from __future__ import annotations

import pytest
import torch

import agwm
from agwm.mixing.hook import MixedWeight
from agwm.rng import RngState, replay, seed_everything
from tests.architectures import ARCHITECTURES
from tests.mixing.hook_checks import gradients, randomize

SUPPORTED = [name for name, architecture in ARCHITECTURES.items() if architecture.checkpointing]
REENTRANT = ["bert", "gpt2", "llama", "t5", "mixtral", "zamba"]


def loss_and_gradients(mixup, batch):
    model = mixup.model
    model.zero_grad()
    mixup.attention.zero_grad()
    with replay(RngState.capture()):
        seed_everything(0)
        loss = model(**batch).loss
        loss.backward()
    return loss.detach(), gradients(model), gradients(mixup.attention)


def check(name, monkeypatch, use_reentrant):
    architecture = ARCHITECTURES[name]
    model, batch = architecture.build().train(), architecture.batch()
    mixup = agwm.inject(model, seed=0)
    randomize(mixup)
    num_mixed = 0
    mix = MixedWeight.mix

    def counted(self, task):
        nonlocal num_mixed
        num_mixed += 1
        return mix(self, task)

    monkeypatch.setattr(MixedWeight, "mix", counted)
    loss, task, attention = loss_and_gradients(mixup, batch)
    once, num_mixed = num_mixed, 0
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    again = loss_and_gradients(mixup, batch)

    assert num_mixed > once, "no layer was recomputed"
    assert torch.equal(again[0], loss)
    torch.testing.assert_close(again[1], task, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(again[2], attention, rtol=1e-4, atol=1e-6)
    num_nonzero = sum(bool(gradient.norm() > 0) for gradient in attention.values())
    assert num_nonzero >= len(attention) / 4


@pytest.mark.parametrize("name", SUPPORTED)
def test_gradients_equal_those_without_checkpointing(name, monkeypatch):
    check(name, monkeypatch, use_reentrant=False)


@pytest.mark.parametrize("name", REENTRANT)
def test_gradients_equal_under_reentrant_checkpointing(name, monkeypatch):
    check(name, monkeypatch, use_reentrant=True)
