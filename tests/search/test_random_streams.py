"""Outer steps draw from a stream of their own, so that alpha held at 1 is an exact control."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

import agwm
from agwm.errors import DataError, HypergradientError
from agwm.files import load_tree, save_tree
from agwm.rng import RngState, seed_everything
from agwm.search.forking import forked, forked_state
from agwm.search.random_stream import RandomStream
from tests.masked_searches import STEPS, Drawing, same, search, weights


def all_states(engine):
    """Return the state of every generator as values that compare."""
    now = RngState.capture()
    key = now.numpy["state"]["key"].tolist()
    noise = engine.inner.model.noise.bit_generator.state
    return now.python, key, now.numpy["state"]["pos"], now.cpu.tolist(), noise


CASES = [
    ({"scheme": "central"}, 1, 1),
    ({"scheme": "central"}, 2, 2),
    ({"scheme": "forward"}, 1, 2),
    ({"scheme": "forward", "batch_fraction": 0.5}, 2, 1),
    ({"order": "first"}, 1, 1),
    ({"scheme": "explicit"}, 2, 1),
]


@pytest.mark.parametrize(("hypergradient", "unroll", "gas"), CASES)
def test_with_alpha_at_1_and_nothing_learned_w_is_that_of_the_control(hypergradient, unroll, gas):
    control = search("frozen", unroll_steps=unroll, gas=gas)
    full = search(hypergradient=hypergradient, unroll_steps=unroll, gas=gas)
    start = weights(full)
    for engine in (control, full):
        seed_everything(5)
        engine.run()
    assert full.outer.count == STEPS // unroll
    assert same(weights(control), weights(full))
    assert not same(start, weights(full))


def test_without_the_stream_w_is_not_that_of_the_control(monkeypatch):
    monkeypatch.setattr(RandomStream, "enter", lambda self, scope: scope)
    monkeypatch.setattr(RandomStream, "leave", lambda self, outside: None)
    control, full = search("frozen"), search()
    for engine in (control, full):
        seed_everything(5)
        engine.run()
    assert not same(weights(control), weights(full))


def test_with_alpha_learned_the_inner_masks_are_those_of_the_control():
    """With an outer problem that draws by itself, from generators that inner passes draw from too."""
    control = search("frozen")
    control.run()
    expected, states = control.inner.masks, all_states(control)
    assert len({tuple(mask.flatten().tolist()) for mask in expected}) == STEPS
    for settings in ({"scheme": "central"}, {"scheme": "forward"}, {"scheme": "explicit"}):
        learned = search(init_std=0.2, outer_lr=0.1, outer=Drawing, hypergradient=settings)
        learned.run()
        assert len(learned.outer.drawn) == STEPS and not same(weights(control), weights(learned))
        assert all(map(torch.equal, learned.inner.masks, expected)), settings
        assert all_states(learned) == states


def test_the_stream_goes_on_and_is_decided_by_the_seed():
    first, again, other = search(outer=Drawing), search(outer=Drawing), search(outer=Drawing)
    seed_everything(5)
    first.run()
    seed_everything(5)
    again.run()
    seed_everything(6)
    other.run()
    every = [number for drawn in first.outer.drawn for number in drawn]
    assert len(set(every)) == len(every) == 4 * STEPS
    assert again.outer.drawn == first.outer.drawn
    firsts = [draws[0] for draws in zip(*first.outer.drawn, *other.outer.drawn, strict=True)]
    assert len(firsts) == 4
    for kind in range(3):  # the model's generator has a seed of its own
        assert first.outer.drawn[0][kind] != other.outer.drawn[0][kind]
    assert first.outer.drawn[0][3] == other.outer.drawn[0][3]


def test_an_exception_in_an_outer_pass_leaves_the_generators_restored():
    class Failing(Drawing):
        def loss(self, batch):
            loss = super().loss(batch)
            if len(self.drawn) == 2:
                raise KeyboardInterrupt
            return loss

    control = search("frozen", train_iters=2)
    control.run()
    seen = all_states(control)
    failing = search(outer=Failing)
    with pytest.raises(KeyboardInterrupt):
        failing.run()
    assert all_states(failing) == seen
    whole = search(outer=Drawing)
    whole.run()
    seed_everything(99)
    failing.outer.drawn.clear()  # so that it raises once
    failing.outer.drawn += [None, None]
    failing.run()
    assert failing.outer.drawn[2:] == whole.outer.drawn[1:]
    assert same(weights(whole), weights(failing))


def test_an_interruption_between_the_streams_is_refused(monkeypatch):
    engine, leave = search(), RandomStream.leave

    def interrupted(self, outside):
        monkeypatch.setattr(RandomStream, "leave", leave)
        raise KeyboardInterrupt

    monkeypatch.setattr(RandomStream, "leave", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    with pytest.raises(HypergradientError, match="in the middle of a change of random streams"):
        engine.run()


def test_a_resumed_search_draws_what_the_uninterrupted_one_does(tmp_path):
    options = {"init_std": 0.2, "outer_lr": 0.1, "outer": Drawing}
    whole, stopped = search(**options), search(**options, train_iters=2, checkpoint=tmp_path / "x")
    seed_everything(5)
    whole.run()
    all_whole = all_states(whole)
    seed_everything(5)
    stopped.run()
    resumed = search(**options)
    seed_everything(99)
    resumed.resume(tmp_path / "x")
    resumed.run()
    assert resumed.outer.drawn == whole.outer.drawn[2:]
    assert same(weights(whole), weights(resumed))
    assert all_states(resumed) == all_whole


def test_a_checkpoint_with_another_stream_is_refused(tmp_path):
    engine = search(train_iters=1)
    engine.run()
    engine.save_checkpoint(tmp_path / "x")
    tree = load_tree(tmp_path / "x")
    older = {key: value for key, value in tree["outer"].items() if key != "random_stream"}
    save_tree(tmp_path / "old", {**tree, "outer": older})
    with pytest.raises(DataError, match="expected outer random_stream there, got none"):
        search().resume(tmp_path / "old")
    fewer = {**tree["outer"], "random_stream": {**tree["outer"]["random_stream"], "generators": []}}
    save_tree(tmp_path / "fewer", {**tree, "outer": fewer})
    with pytest.raises(DataError, match="expected 0 generators of one's own, got 1"):
        search().resume(tmp_path / "fewer")


KINDS = {
    "torch": (
        lambda seed: torch.Generator().manual_seed(seed),
        lambda g: torch.rand(4, generator=g).tolist(),
    ),
    "numpy": (np.random.default_rng, lambda g: g.random(4).tolist()),
    "another of numpy": (
        lambda seed: np.random.Generator(np.random.Philox(seed)),
        lambda g: g.random(4).tolist(),
    ),
    "old numpy": (np.random.RandomState, lambda g: g.random_sample(4).tolist()),
    "python": (random.Random, lambda g: [g.random() for _ in range(4)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_is_decided_by_the_state_which_stays(kind):
    make, draw = KINDS[kind]
    expected, generator = draw(make(3)), make(3)
    fork = forked(generator)
    assert type(fork) is type(generator)
    assert draw(generator) == expected
    first = draw(fork)
    assert first == draw(forked(make(3)))
    assert len({*first, *expected, *draw(forked(generator)), *draw(forked(make(4)))}) == 16


def test_a_fork_of_the_global_state_is_one_of_each_generator():
    """So that who seeds torch alone has the same masks again, whatever the state of the others is."""
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    first = forked_state(RngState.capture())
    random.seed(2)
    second = forked_state(RngState.capture())
    assert torch.equal(first.cpu, second.cpu) and first.python != second.python
    assert first.numpy["state"]["key"].tolist() == second.numpy["state"]["key"].tolist()
    assert not torch.equal(first.cpu, torch.get_rng_state())


def test_a_generator_that_only_the_outer_problem_knows_keeps_its_seed():
    class Own(agwm.AttentionProblem):
        def loss(self, batch):
            self.drawn.append(float(torch.rand((), generator=self.own)))
            return super().loss(batch)

    engine = search(outer=Own)
    engine.outer.own = torch.Generator().manual_seed(11)
    engine.run()
    expected = torch.rand(STEPS, generator=torch.Generator().manual_seed(11)).tolist()
    assert engine.outer.drawn == pytest.approx(expected)


def test_states_are_captured_twice_an_outer_step(monkeypatch):
    """Once on the way in and once on the way out; the passes' own records come on top of both."""

    def count(is_swapped):
        engine, calls, capture = search(hypergradient={"order": "first"}), [], RngState.capture.__func__
        with monkeypatch.context() as patch:
            patch.setattr(
                RngState,
                "capture",
                classmethod(lambda cls, *device: calls.append(1) or capture(cls, *device)),
            )
            if not is_swapped:
                patch.setattr(RandomStream, "enter", lambda self, scope: scope)
                patch.setattr(RandomStream, "leave", lambda self, outside: None)
            engine.run()
        return len(calls)

    counts = {is_swapped: count(is_swapped) for is_swapped in (False, True)}
    assert counts[True] - counts[False] == 2 * STEPS
