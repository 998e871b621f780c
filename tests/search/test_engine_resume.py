"""Checkpoints: a run resumed with fresh objects goes on bit for bit."""

from __future__ import annotations

import functools

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from agwm.errors import ConfigError, DataError
from agwm.files import load_tree, save_tree
from tests.search_runs import Search, token_batches
from tests.tiny_models import tiny_bert

STEPS = 9


def rows(seed: int, count: int = 22) -> list[dict[str, torch.Tensor]]:
    (batch,) = token_batches(1, size=count, seed=seed)
    return [{key: value[i] for key, value in batch.items()} for i in range(count)]


def loaders(kind: str):
    if kind == "own generators":
        generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    elif kind == "one shared generator":
        generators = [torch.Generator().manual_seed(3)] * 2
    else:
        generators = [None, None]
    return [
        DataLoader(rows(seed), batch_size=4, shuffle=True, generator=generator)
        for seed, generator in enumerate(generators)
    ]


def build(kind: str, train_iters: int = STEPS, seed: int = 7, scheme: str = "forward", **options) -> Search:
    torch.manual_seed(seed)
    inner, outer = loaders(kind)
    return Search(
        tiny_bert(dropout=0.1, num_layers=1),
        inner=inner,
        outer=outer,
        train_iters=train_iters,
        scheduler=lambda o: OneCycleLR(o, max_lr=[0.01, 0.003], total_steps=STEPS + 5),
        outer_scheduler=None,
        hypergradient={"scheme": scheme},
        validate=lambda engine: {"alpha": sum(float(a.sum()) for a in engine.outer.trainable_parameters())},
        valid_step=2,
        **options,
    )


KINDS = ["own generators", "one shared generator", "no generator"]


@functools.cache
def uninterrupted(kind: str) -> Search:
    """Return a run to the end, the same for every stop."""
    whole = build(kind)
    whole.run()
    return whole


@pytest.mark.parametrize("stop", [2, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_resumed_run_is_the_uninterrupted_one(kind, stop, tmp_path):
    """An epoch is six batches: the first stop is inside one, the second at the end of one."""
    file = tmp_path / "state.safetensors"
    whole = uninterrupted(kind)
    stopped = build(kind, stop, checkpoint=file)
    stopped.run()
    resumed = build(kind, seed=99)
    resumed.engine.resume(file)
    assert resumed.engine.step == stop
    resumed.run()
    for name, weight in whole.weights().items():
        assert torch.equal(resumed.weights()[name], weight), name
    for name, factor in whole.alpha().items():
        assert torch.equal(resumed.alpha()[name], factor), name
    assert resumed.engine.history == whole.engine.history
    assert [record["step"] for record in whole.engine.history] == [2, 4, 6, 8]
    assert resumed.engine.inner.scheduler.get_last_lr() == whole.engine.inner.scheduler.get_last_lr()
    for a, b in zip(whole.moments[stop:], resumed.moments, strict=True):
        assert all(torch.equal(a.gradient[name], b.gradient[name]) for name in a.gradient)
    assert torch.equal(resumed.last.inner[0][1], whole.last.inner[0][1])


@pytest.mark.parametrize("scheme", ["forward", "explicit"])
@pytest.mark.parametrize(("unroll", "gas"), [(3, 1), (2, 2)])
def test_resuming_with_unrolled_steps_and_accumulation(unroll, gas, scheme, tmp_path):
    file = tmp_path / "state.safetensors"
    options = {"unroll_steps": unroll, "gradient_accumulation": gas, "scheme": scheme}
    whole = build("no generator", 12, **options, checkpoint=tmp_path / "other", roll_back=True)
    whole.run()
    build("no generator", 6, **options, checkpoint=file, roll_back=True).run()
    resumed = build("no generator", 12, seed=99, **options, roll_back=True)
    resumed.engine.resume(file)
    resumed.run()
    assert resumed.engine.step == 12
    for name, weight in whole.weights().items():
        assert torch.equal(resumed.weights()[name], weight), name
    assert resumed.engine.history == whole.engine.history


def test_run_repeats_by_seed_bit_for_bit_and_differs_by_it():
    runs = [build("no generator", 4, seed=seed) for seed in (7,)]
    runs[0].run()
    again, other = build("no generator", 4), None
    again.run()
    other = build("no generator", 4, seed=8)
    other.run()
    names = list(again.weights())
    assert all(torch.equal(again.weights()[n], runs[0].weights()[n]) for n in names)
    assert not all(torch.equal(other.weights()[n], runs[0].weights()[n]) for n in names)


def test_checkpoints_are_counted_in_inner_steps(tmp_path, monkeypatch):
    saved = []
    search = build(
        "no generator",
        7,
        checkpoint=tmp_path / "x",
        checkpoint_step=3,
        unroll_steps=2,
        gradient_accumulation=2,
    )
    monkeypatch.setattr(
        type(search.engine), "save_checkpoint", lambda engine, path: saved.append(engine.step)
    )
    search.run()
    assert saved == [4, 6]  # every 3 rounded up to whole outer steps, and the last whole one


def test_checkpoint_inside_an_outer_step_is_an_error(tmp_path):
    search = build("no generator", 3, unroll_steps=2)
    search.run()
    with pytest.raises(ConfigError, match="divisible by 2, got 3"):
        search.engine.save_checkpoint(tmp_path / "x")


def test_resuming_from_another_file_is_an_error(tmp_path):
    search = build("no generator", 1)
    with pytest.raises(DataError, match="Cannot read"):
        search.engine.resume(tmp_path / "missing")
    save_tree(tmp_path / "other", {"weights": torch.ones(2)})
    with pytest.raises(DataError, match="Cannot resume from"):
        search.engine.resume(tmp_path / "other")


def test_a_checkpoint_of_another_engine_changes_nothing(tmp_path):
    """Other weights, another optimizer, no scheduler: told before anything is taken over."""
    whole = build("no generator", 2)
    whole.engine.save_checkpoint(tmp_path / "x")
    inner, outer = loaders("no generator")
    make = {"inner": inner, "outer": outer, "train_iters": 2, "hypergradient": {"scheme": "forward"}}
    schedule = {"scheduler": lambda o: OneCycleLR(o, max_lr=[0.01, 0.003], total_steps=9)}
    others = {
        "inner weight '.*' .96, 8. of torch.float32, got .96, 16.": Search(
            tiny_bert(hidden=8, num_layers=1), **make, **schedule
        ),
        "inner (optimizer group 0 of|scheduler none, got there)": Search(tiny_bert(num_layers=1), **make),
    }
    for message, other in others.items():
        before = {name: weight.clone() for name, weight in other.weights().items()}
        state = torch.get_rng_state()
        with pytest.raises(DataError, match=f"Cannot resume from '.*x': expected {message}") as error:
            other.engine.resume(tmp_path / "x")
        assert len(str(error.value)) < 700 and str(error.value).isprintable()
        assert all(torch.equal(before[name], weight) for name, weight in other.weights().items())
        assert torch.equal(state, torch.get_rng_state()) and other.engine.step == 0


def test_a_checkpoint_whose_content_is_odd_is_one_line(tmp_path):
    search = build("no generator", 1)
    search.engine.save_checkpoint(tmp_path / "x")
    tree = load_tree(tmp_path / "x")
    for change in ({"inner": {}}, {"inner": 3}, {"rng": {}}, {"outer": [1]}):
        save_tree(tmp_path / "y", {**tree, **change})
        with pytest.raises(DataError, match="Cannot resume from '.*y'"):
            build("no generator", 1).engine.resume(tmp_path / "y")


def test_checkpoint_before_the_first_step(tmp_path):
    search = build("no generator", 2)
    search.engine.save_checkpoint(tmp_path / "x")
    search.run()
    fresh = build("no generator", 2, seed=99)
    fresh.engine.resume(tmp_path / "x")
    fresh.run()
    assert all(torch.equal(fresh.weights()[name], weight) for name, weight in search.weights().items())
