"""The oracles agree: recorded masks with replayed ones, steps taken back with one long graph."""

from __future__ import annotations

import ast
import copy
import dataclasses
from functools import partial
from pathlib import Path

import pytest
import torch

from agwm.rng import RngState
from benchmarks import bench, dropout_masks, models, oracles

GROUP = {"lr": 2e-5, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
GROUP |= {"maximize": False, "decoupled_weight_decay": True}


@pytest.fixture
def step():
    """A step of AdamW on a tiny model: the model, names of the mixed weights, two passes and the moment."""
    size = bench.SMOKE
    plain = size.model(kernels="eager")
    names = [n for n, p in plain.named_parameters() if ".layer." in n and p.dim() == 2]
    generator = torch.Generator().manual_seed(0)

    def draw(number):
        state = RngState.capture()
        batch = size.batches(seed=number)[0]
        return dropout_masks.Pass(batch, state, float(plain(**batch).loss.detach()))

    torch.manual_seed(3)
    before = {
        n: p.detach() + 0.01 * torch.randn(p.shape, generator=generator)
        for n, p in plain.named_parameters()
    }
    alpha = {}
    for name in names:
        shapes = (len(before[name]), 1), (1, before[name].shape[1])
        vectors = [torch.rand(shape, generator=generator) for shape in shapes]
        alpha |= dict(zip(oracles.keys(name), vectors, strict=True))
    states = {
        n: {
            "step": torch.tensor(3.0),
            "exp_avg": 1e-3 * torch.randn(p.shape, generator=generator),
            "exp_avg_sq": 1e-6 * torch.rand(p.shape, generator=generator),
        }
        for n, p in before.items()
    }
    inner, outer = draw(1), draw(2)
    draws = [(made.batch, made.state.cpu) for made in (inner, outer)]
    groups = dict.fromkeys(before, GROUP)
    moment = oracles.Moment(before, before, alpha, draws[:1], draws[1], groups, states).double()
    return plain, names, (inner, outer), moment


def losses(plain, names):
    """Return the loss in masks of a random state, and that in recorded masks."""
    wide = copy.deepcopy(plain).double()
    drawn = partial(dropout_masks.apply_masks, dropout=bench.SMOKE.dropout)
    return oracles.mixed_loss(wide, names), oracles.mixed_loss(wide, names, drawn=drawn)


def record(plain, passes):
    """Return passes with the masks that they drew."""
    return [(made.batch, dropout_masks.record_masks(plain, made, models.CPU)) for made in passes]


def zeros_with(vector):
    """Return derivatives by W, and none by the moments."""
    return {name: [v, torch.zeros_like(v), torch.zeros_like(v)] for name, v in vector.items()}


def test_oracles_know_nothing_of_the_package():
    tree = ast.parse(Path(oracles.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert not [name for name in imported if name.partition(".")[0] in ("agwm", "benchmarks", "betty")]


def test_recorded_masks_give_the_term_of_replayed_ones(step):
    plain, names, passes, moment = step
    replayed, masked = losses(plain, names)
    reached = oracles.next_weights(replayed, moment, moment.alpha, oracles.adam)
    moment.updated = {name: weight.detach() for name, weight in reached.items()}
    whole, direct = oracles.unrolled(replayed, moment, oracles.adam), oracles.direct(replayed, moment)
    expected = {name: whole[name] - direct[name] for name in whole}

    inner, outer = record(plain, passes)
    for _, masks in (inner, outer):
        assert len(masks) == 1 + 3 * bench.SMOKE.layers + 1
        assert all(not mask.all() for mask in masks[:-1])
    recorded = dataclasses.replace(moment, inner=[inner], outer=outer)
    vector = zeros_with(oracles.outer_slope(masked, recorded))
    _, actual = oracles.step_back(masked, recorded, vector)
    assert oracles.relative_error(actual, expected) < 1e-6
    unmasked = dataclasses.replace(recorded, inner=[(inner[0], None)])
    assert oracles.relative_error(oracles.step_back(masked, unmasked, vector)[1], expected) > 0.1


def test_without_masks_nothing_is_dropped(step):
    plain, names, (inner, _), moment = step
    loss = losses(plain, names)[1]
    pretrained = {name: p.detach().double() for name, p in plain.named_parameters()}
    expected = copy.deepcopy(plain).double().eval()(**inner.batch).loss
    torch.testing.assert_close(loss(pretrained, moment.alpha, (inner.batch, None)), expected)


def test_identity_term_is_the_same_in_recorded_masks(step):
    plain, names, passes, moment = step
    replayed, masked = losses(plain, names)
    whole, direct = oracles.identity(replayed, moment, moment.before), oracles.direct(replayed, moment)
    inner, outer = record(plain, passes)
    recorded = dataclasses.replace(moment, inner=[inner], outer=outer)
    actual = oracles.identity_term(masked, recorded, moment.before)
    assert oracles.relative_error(actual, {name: whole[name] - direct[name] for name in whole}) < 1e-6


def test_steps_taken_back_are_those_of_one_long_graph(step):
    plain, names, passes, moment = step
    loss, draws = losses(plain, names)[1], record(plain, passes)
    alpha = oracles.leaves(moment.alpha)
    weights = oracles.leaves(moment.before)
    states, starts = moment.states, []
    for number, draw in enumerate(draws):
        slopes = oracles.derivatives(loss(weights, alpha, draw), weights, create_graph=True)
        starts.append((weights, states))
        moved = {
            name: oracles.adam_step(weights[name], slope, GROUP, states[name])
            for name, slope in zip(weights, slopes, strict=True)
        }
        weights = {name: weight for name, (weight, _, _) in moved.items()}
        states = {
            name: {"step": 4.0 + number, "exp_avg": mean, "exp_avg_sq": square}
            for name, (_, mean, square) in moved.items()
        }
    expected = oracles.derivatives(loss(weights, moment.alpha, draws[0]), alpha)

    def held(tensors):
        return {key: value.detach() if torch.is_tensor(value) else value for key, value in tensors.items()}

    last = dataclasses.replace(moment, updated=held(weights), outer=draws[0])
    adjoint, terms = zeros_with(oracles.outer_slope(loss, last)), []
    for draw, (before, state) in reversed(list(zip(draws, starts, strict=True))):
        found = {name: held(tensors) for name, tensors in state.items()}
        taken = dataclasses.replace(moment, before=held(before), states=found, inner=[draw])
        adjoint, term = oracles.step_back(loss, taken, adjoint)
        terms.append(torch.cat([t.flatten() for t in term.values()]))
    exact = torch.cat([t.flatten() for t in expected])
    assert exact.norm() > 0
    torch.testing.assert_close(sum(terms), exact, rtol=1e-8, atol=1e-12 * float(exact.norm()))
    assert (terms[0] - exact).norm() > 0.1 * exact.norm()


def test_masks_of_another_pass_are_refused(step):
    plain, names, (inner, outer), moment = step
    loss = losses(plain, names)[1]
    pretrained = {name: p.detach().double() for name, p in plain.named_parameters()}
    own, other = record(plain, (inner, outer))
    dropout_masks.check_loss(loss, pretrained, moment.alpha, own, 1e-5, inner.loss)
    with pytest.raises(RuntimeError, match="masks are not those of the step"):
        dropout_masks.check_loss(loss, pretrained, moment.alpha, (inner.batch, other[1]), 1e-5, inner.loss)


def test_an_error_relative_to_nothing_is_refused():
    zero, one = {"a": torch.zeros(2)}, {"a": torch.ones(2)}
    with pytest.raises(ValueError, match="reference is zero"):
        oracles.relative_error(one, zero)
    with pytest.raises(ValueError, match="names differ"):
        oracles.relative_error(one, {"b": torch.ones(2)})
