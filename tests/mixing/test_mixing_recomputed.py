"""Mixed weights that are not kept for backward give the gradients of those that are, bit for bit."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

import agwm
from agwm.mixing.hook import MixedWeight
from agwm.rng import seed_everything
from tests.mixing.hook_checks import gradients, own_random_state, randomize
from tests.search_runs import Search
from tests.tiny_models import TINY_MODELS, tiny_bert


def outcome(mixup, batch):
    mixup.model.zero_grad()
    mixup.attention.zero_grad()
    with own_random_state(0):
        seed_everything(0)
        loss = mixup.model(**batch).loss
    return loss


def check(mixup, batch, monkeypatch):
    counted = []
    mix = MixedWeight._mix
    monkeypatch.setattr(MixedWeight, "_mix", lambda self, task: counted.append(1) or mix(self, task))
    results = []
    for is_recomputed in (False, True):
        if is_recomputed:
            with mixup.recomputing():
                loss = outcome(mixup, batch)
        else:
            loss = outcome(mixup, batch)
        counted.clear()
        loss.backward()
        results.append((loss.detach(), gradients(mixup.model), gradients(mixup.attention), len(counted)))
    (loss, task, attention, none), (again, task_again, attention_again, num) = results
    assert num >= len(mixup.names) / 2 and num > none
    assert torch.equal(loss, again)
    for one, other in ((task, task_again), (attention, attention_again)):
        assert all(torch.equal(other[name], gradient) for name, gradient in one.items())
    assert any(gradient.norm() > 0 for gradient in attention.values())


@pytest.mark.parametrize("name", TINY_MODELS)
def test_gradients_are_the_same_bits(name, monkeypatch):
    tiny = TINY_MODELS[name]
    mixup = agwm.inject(tiny.build(), seed=0)
    randomize(mixup)
    check(mixup, tiny.batch(), monkeypatch)


def test_tied_and_mixed_embedding(monkeypatch):
    tiny = TINY_MODELS["llama-tied"]
    mixup = agwm.inject(tiny.build(), include="*", seed=0)
    randomize(mixup)
    assert "model.embed_tokens.weight" in mixup.names
    check(mixup, tiny.batch(), monkeypatch)


def test_under_gradient_checkpointing():
    tiny = TINY_MODELS["bert-classifier"]
    mixup = agwm.inject(tiny.build(), seed=0)
    randomize(mixup)
    outcome(mixup, tiny.batch()).backward()
    expected = gradients(mixup.attention)
    mixup.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with mixup.recomputing():
        loss = outcome(mixup, tiny.batch())
    loss.backward()
    torch.testing.assert_close(gradients(mixup.attention), expected, rtol=1e-4, atol=1e-6)


def test_second_derivatives_go_through_what_is_recomputed():
    layer = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    mixup = agwm.inject(layer, init_std=0.3, seed=0)
    randomize(mixup)
    wanted = [*layer.parameters(), *mixup.attention.parameters()]
    results = []
    for is_recomputed in (False, True):
        x = torch.ones(5, 3, dtype=torch.float64, requires_grad=True)
        if is_recomputed:
            with mixup.recomputing():
                loss = layer(x).square().sum()
        else:
            loss = layer(x).square().sum()
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        results.append(torch.autograd.grad(slope.square().sum(), wanted, allow_unused=True))
    for one, other in zip(*results, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)


def test_mixed_weights_are_gone_after_the_forward_pass(monkeypatch):
    seen = []
    mix = MixedWeight._mix

    def watched(self, task):
        mixed = mix(self, task)
        seen.append(weakref.ref(mixed))
        return mixed

    monkeypatch.setattr(MixedWeight, "_mix", watched)
    layer = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    mixup = agwm.inject(layer, seed=0)
    x = torch.ones(5, 3, requires_grad=True)
    kept = layer(x)
    gc.collect()
    assert any(reference() is not None for reference in seen)
    del kept
    seen.clear()
    with mixup.recomputing():
        kept = layer(x)
    gc.collect()
    assert len(seen) == 2 and all(reference() is None for reference in seen)
    kept.sum().backward()
    assert x.grad.norm() > 0


@pytest.mark.parametrize("is_swapped", [True, False])
@pytest.mark.parametrize("owner", ["model", "attention"])
def test_weights_that_changed_since_the_forward_pass_are_refused(owner, is_swapped):
    layer = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    mixup = agwm.inject(layer, seed=0)
    with mixup.recomputing():
        loss = layer(torch.ones(5, 3, requires_grad=True)).square().sum()
    with torch.no_grad():
        for parameter in getattr(mixup, owner).parameters():
            if is_swapped:
                parameter.data = parameter * 0.5
            else:
                parameter.mul_(0.5)
    with pytest.raises(RuntimeError, match="Cannot mix weights again.*changed since"):
        loss.backward()


def test_search_is_the_same_bit_for_bit():
    class MyTask(agwm.TaskWeightProblem):
        def loss(self, batch):
            with self.mixup.recomputing():
                return super().loss(batch)

    runs = []
    for kind in (agwm.TaskWeightProblem, MyTask):
        torch.manual_seed(0)
        runs.append(Search(tiny_bert(dropout=0.1), inner_problem=kind, train_iters=3, hypergradient={}))
        runs[-1].run()
    for name, factor in runs[0].alpha().items():
        assert torch.equal(runs[1].alpha()[name], factor)
    for name, weight in runs[0].weights().items():
        assert torch.equal(runs[1].weights()[name], weight)
