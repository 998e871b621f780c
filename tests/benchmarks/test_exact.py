"""The exact derivative that the benchmark compares with is the one of the tests' own oracles."""

from __future__ import annotations

import copy

import pytest
import torch

from agwm.rng import RngState
from benchmarks import bench, exact, models
from tests import oracles


@pytest.fixture
def moment():
    """A step of AdamW on a tiny model, with all that its derivative depends on."""
    size = bench.SMOKE
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


def test_exact_term_is_the_oracles(moment):
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


def test_steps_taken_back_are_those_of_one_long_graph(moment):
    plain, pairs, before, states, first, second = moment
    group = {"lr": 2e-5, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
    model = exact.ExactModel(plain, exact.convex, bench.SMOKE.dropout)
    masks = [exact.record_masks(plain, draw, models.CPU) for draw in (first, second)]
    wide = {name: [v.double().requires_grad_() for v in pair] for name, pair in pairs.items()}
    triples = {
        name: [
            w.double().requires_grad_(),
            states[name]["exp_avg"].double(),
            states[name]["exp_avg_sq"].double(),
        ]
        for name, w in before.items()
    }
    starts = [triples]
    for number, (draw, drawn) in enumerate(zip((first, second), masks, strict=True)):
        weights = {name: triple[0] for name, triple in triples.items()}
        loss = model.loss(weights, wide, draw, drawn)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        triples = {
            name: exact.adam_step(gradient, triples[name], 4.0 + number, group)
            for name, gradient in zip(weights, gradients, strict=True)
        }
        starts.append(triples)
    held = {name: [vector.detach() for vector in pair] for name, pair in wide.items()}
    loss = model.loss({name: triple[0] for name, triple in triples.items()}, held, first, masks[0])
    expected = torch.autograd.grad(loss, [vector for pair in wide.values() for vector in pair])

    updated = {name: triple[0].detach() for name, triple in triples.items()}
    vector = model.gradient(updated, held, first, masks[0])
    adjoint = {name: [v, torch.zeros_like(v), torch.zeros_like(v)] for name, v in vector.items()}
    terms = []
    for number, draw in ((1, second), (0, first)):
        start = {name: [t.detach() for t in triple] for name, triple in starts[number].items()}
        state = {
            name: {"step": 3.0 + number, "exp_avg": mean, "exp_avg_sq": square}
            for name, (_, mean, square) in start.items()
        }
        optimizer = {name: (group, state[name]) for name in start}
        weights = {name: triple[0] for name, triple in start.items()}
        adjoint, term = model.step_back(weights, held, draw, masks[number], optimizer, adjoint)
        terms.append(term)
    whole, exact_whole = (
        torch.cat([t.flatten() for t in side]) for side in (map(torch.add, *terms), expected)
    )
    last = torch.cat([t.flatten() for t in terms[0]])
    assert exact_whole.norm() > 0
    torch.testing.assert_close(whole, exact_whole, rtol=1e-8, atol=1e-12 * float(exact_whole.norm()))
    assert (last - exact_whole).norm() > 0.1 * exact_whole.norm()


def test_masks_of_another_pass_are_refused(moment):
    plain, pairs, _, _, inner, outer = moment
    model = exact.ExactModel(plain, exact.convex, bench.SMOKE.dropout)
    pretrained = {name: p.detach() for name, p in plain.named_parameters()}
    own, other = (exact.record_masks(plain, draw, models.CPU) for draw in (inner, outer))
    model.check(pretrained, pairs, inner, own, 1e-5)
    with pytest.raises(RuntimeError, match="masks are not those of the step"):
        model.check(pretrained, pairs, inner, other, 1e-5)
