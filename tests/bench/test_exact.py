"""The exact derivative that the benchmark compares with is the one of the tests' own oracles."""

from __future__ import annotations

import copy

import pytest
import torch

from agwm.rng import RngState
from tests import oracles


@pytest.fixture
def moment(bench, load):
    """A step of AdamW on a tiny model, with all that its derivative depends on."""
    exact, size = load("exact"), bench.SMOKE
    plain = size.model(kernels="eager")
    names = [n for n, p in plain.named_parameters() if ".layer." in n and p.dim() == 2]
    generator = torch.Generator().manual_seed(0)

    def draw(number):
        state = RngState.capture()
        batch = size.batches(seed=number)[0]
        return exact.Draw(batch, state, float(plain(**batch).loss.detach()))

    torch.manual_seed(3)
    before = {
        n: p.detach() + 0.01 * torch.randn(p.shape, generator=generator)
        for n, p in plain.named_parameters()
    }
    pairs = {
        n: (
            torch.rand(len(before[n]), 1, generator=generator),
            torch.rand(1, before[n].shape[1], generator=generator),
        )
        for n in names
    }
    states = {
        n: {
            "step": torch.tensor(3.0),
            "exp_avg": 1e-3 * torch.randn(p.shape, generator=generator),
            "exp_avg_sq": 1e-6 * torch.rand(p.shape, generator=generator),
        }
        for n, p in before.items()
    }
    return plain, pairs, before, states, draw(1), draw(2)


def test_exact_term_is_the_oracles(moment, bench, load):
    exact, models = load("exact"), load("models")
    plain, pairs, before, states, inner, outer = moment
    group = {"lr": 2e-5, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
    group |= {"maximize": False, "decoupled_weight_decay": True}
    alpha = {}
    for name, (rows, columns) in pairs.items():
        key = name.replace(".", "/")
        alpha |= {f"{key}.a": rows, f"{key}.b": columns}
    step = oracles.Moment(
        before,
        {},
        alpha,
        [(inner.batch, inner.state.cpu)],
        (outer.batch, outer.state.cpu),
        dict.fromkeys(before, group),
        states,
    ).double()
    loss = oracles.mixed_loss(copy.deepcopy(plain).double(), list(pairs))
    step.updated = {
        name: weight.detach()
        for name, weight in oracles.next_weights(loss, step, step.alpha, oracles.adam).items()
    }
    whole, direct = oracles.unrolled(loss, step, oracles.adam), oracles.direct(loss, step)
    expected = {name: whole[name] - direct[name] for name in whole}

    model = exact.ExactModel(plain, exact.convex, bench.SMOKE.dropout)
    masks, outer_masks = (exact.record_masks(plain, d, models.CPU) for d in (inner, outer))
    assert len(masks) == 1 + 3 * bench.SMOKE.layers + 1 and all(not mask.all() for mask in masks[:-1])
    vector = model.gradient(step.updated, pairs, outer, outer_masks)
    terms = model.indirect(
        before,
        pairs,
        inner,
        masks,
        lambda name, gradient: exact.adam_response(gradient, vector[name], group, states[name]),
    )
    actual = dict(zip(expected, terms, strict=True))
    assert oracles.relative_error(actual, expected) < 1e-6
    unmasked = model.indirect(before, pairs, inner, None, lambda name, _: vector[name])
    assert oracles.relative_error(dict(zip(expected, unmasked, strict=True)), expected) > 0.1


def test_masks_of_another_pass_are_refused(moment, bench, load):
    exact, models = load("exact"), load("models")
    plain, pairs, _, _, inner, outer = moment
    model = exact.ExactModel(plain, exact.convex, bench.SMOKE.dropout)
    pretrained = {name: p.detach() for name, p in plain.named_parameters()}
    own, other = (exact.record_masks(plain, draw, models.CPU) for draw in (inner, outer))
    model.check(pretrained, pairs, inner, own, 1e-5)
    with pytest.raises(RuntimeError, match="masks are not those of the step"):
        model.check(pretrained, pairs, inner, other, 1e-5)
