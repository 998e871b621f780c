"""A run that is interrupted anywhere in a step, and run again, ends as if it had not been."""

from __future__ import annotations

import copy

import pytest
import torch
from betty.configs import Config
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

import agwm
from agwm.errors import ConfigError, HypergradientError
from tests.betty_programs import DirectOuter, Inner, batches, engine, linear, problems
from tests.search_runs import tiny_classifier, vector_batches


class Trouble(Exception):
    """What is raised once, at the n-th call of ``strike``."""


class Fuse:
    def __init__(self, at: int | None, error: type[BaseException]) -> None:
        self.at, self.error, self.calls = at, error, 0

    def strike(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise self.error


class Steady(nn.Module):
    """A layer of dropout after which a buffer moves."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, x):
        self.count += 1
        return nn.functional.dropout(x, 0.2) * (1 + 0.01 * self.count)


def build(at=None, error=Trouble, where="inner", **options):
    """Build a small search in which the loss of one problem raises at its n-th call."""
    fuse = Fuse(at, error)

    class MyInner(agwm.TaskWeightProblem):
        def loss(self, batch):
            torch.rand(1)
            loss = self.model(**batch).loss
            if where == "inner":
                fuse.strike()
            return loss

    class MyOuter(agwm.AttentionProblem):
        def loss(self, batch):
            loss = self.model(**batch).loss
            if where == "outer":
                fuse.strike()
            return loss

    torch.manual_seed(3)
    model = tiny_classifier(0.2)
    model.dropout = Steady()
    mixup = agwm.inject(model, include="*weight", init_std=0.2, seed=0)
    inner = torch.optim.AdamW(model.parameters(), lr=0.05)
    outer = torch.optim.AdamW(mixup.attention.parameters(), lr=0.05)

    def loader(seed):
        rows = [{k: v[0] for k, v in batch.items()} for batch in vector_batches(11, 1, seed)]
        return DataLoader(rows, 2, shuffle=True)

    built = agwm.build_engine(
        mixup,
        loader(0),
        loader(1),
        inner,
        outer,
        **({"train_iters": 4} | options),
        inner=MyInner,
        outer=MyOuter,
        inner_scheduler=StepLR(inner, 2, 0.5),
        outer_scheduler=StepLR(outer, 2, 0.5),
        progress=False,
    )
    return built, fuse


def state(built) -> dict:
    problems = {name: getattr(built, name).to_tree() for name in ("inner", "outer")}
    generators = torch.get_rng_state()
    buffers = {name: b.clone() for name, b in built.inner.model.named_buffers()}
    steps = built.global_step, built.history
    return {"problems": problems, "random": generators, "buffers": buffers, "steps": steps}


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


SHAPES = {
    "plain": {},
    "unrolled": {"unroll_steps": 2},
    "accumulated": {"gradient_accumulation": 2},
    "both": {"unroll_steps": 2, "gradient_accumulation": 2},
    "forward": {"hypergradient": {"scheme": "forward"}},
    "forward part": {"hypergradient": {"scheme": "forward", "batch_fraction": 0.5}},
    "explicit": {"hypergradient": {"scheme": "explicit"}, "gradient_accumulation": 2},
    "explicit, unrolled": {"hypergradient": {"scheme": "explicit"}, "unroll_steps": 2},
    "identity": {"hypergradient": {"best_response": "identity"}, "gradient_accumulation": 2},
    "rolled back": {"roll_back": True, "unroll_steps": 2, "gradient_accumulation": 2},
    "clipped": {"gradient_clipping": 0.1},
}


@pytest.mark.parametrize("where", ["inner", "outer"])
@pytest.mark.parametrize("shape", SHAPES)
def test_interrupted_in_each_pass(where, shape):
    """Every call of a loss: of the step, of both passes of the difference, of a roll-back's retake."""
    whole, fuse = build(where=where, **SHAPES[shape])
    whole.run()
    expected, calls = state(whole), fuse.calls
    assert calls >= 2
    for at in range(1, min(calls, 12) + 1):
        built, _ = build(at, (Trouble, KeyboardInterrupt)[at % 2], where, **SHAPES[shape])
        with pytest.raises((Trouble, KeyboardInterrupt)):
            built.run()
        torch.rand(7)
        built.run()
        assert same(state(built), expected), at


def test_interrupted_twice_in_one_step():
    whole, _ = build()
    whole.run()
    built, fuse = build(5)
    with pytest.raises(Trouble):
        built.run()
    fuse.at = fuse.calls + 1
    with pytest.raises(Trouble):
        built.run()
    built.run()
    assert same(state(built), state(whole))


class Brittle(torch.utils.data.Dataset):
    def __init__(self, rows, fuse):
        self.rows, self.fuse = rows, fuse

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        self.fuse.strike()
        return self.rows[index]


@pytest.mark.parametrize("own", [False, True], ids=["global", "own generator"])
def test_interrupted_in_the_loader(own):
    def run(at):
        fuse = Fuse(at, KeyboardInterrupt)
        torch.manual_seed(1)
        rows = [{k: v[0] for k, v in batch.items()} for batch in vector_batches(5, 1)]
        generator = torch.Generator().manual_seed(4) if own else None
        mixup = agwm.inject(tiny_classifier(0.2), include="*weight", init_std=0.2, seed=0)
        built = agwm.build_engine(
            mixup,
            DataLoader(Brittle(rows, fuse), 2, shuffle=True, generator=generator),
            vector_batches(2),
            torch.optim.AdamW(mixup.model.parameters(), lr=0.05),
            torch.optim.AdamW(mixup.attention.parameters(), lr=0.05),
            8,
            progress=False,
        )
        if at is not None:
            with pytest.raises(KeyboardInterrupt):
                built.run()
        built.run()
        return state(built)

    expected = run(None)
    for at in (1, 2, 4, 5, 6, 11):
        assert same(run(at), expected), at


def test_interrupted_in_validate():
    def run(at):
        fuse = Fuse(at, Trouble)
        built, _ = build(validate=lambda e: fuse.strike() or {"at": e.step}, valid_step=2, train_iters=6)
        if at is not None:
            with pytest.raises(Trouble):
                built.run()
        built.run()
        return state(built)

    assert same(run(2), run(None))
    assert [record["step"] for record in run(2)["steps"][1]] == [2, 4, 6]


@pytest.mark.parametrize("hook", ["grad_callback", "param_callback"])
def test_what_is_half_done_is_refused(hook):
    fuse = Fuse(2, Trouble)
    built, _ = build(hypergradient={"best_response": "sgd"})
    setattr(built.inner, hook, fuse.strike)
    with pytest.raises(Trouble):
        built.run()
    with pytest.raises(
        HypergradientError, match=f"'inner' cannot go on.*in the middle of {hook}|optimizer_step"
    ):
        built.run()


def test_half_an_optimizer_step_is_refused_and_a_checkpoint_helps(tmp_path):
    file = tmp_path / "state"
    whole, _ = build(checkpoint=tmp_path / "other", checkpoint_step=1)
    whole.run()
    built, _ = build(checkpoint=file, checkpoint_step=1)
    fuse = Fuse(4, KeyboardInterrupt)
    handle = built.inner.optimizer.register_step_post_hook(lambda *_: fuse.strike())
    with pytest.raises(KeyboardInterrupt):
        built.run()
    handle.remove()
    with pytest.raises(HypergradientError, match="cannot go on.*optimizer_step.*Resume from a checkpoint"):
        built.run()
    with pytest.raises(ConfigError, match="interrupted"):
        built.save_checkpoint(file)
    built.resume(file)
    built.run()
    assert same(state(built), state(whole))


@pytest.mark.parametrize("where", ["inner", "outer"])
@pytest.mark.parametrize("gas", [1, 2])
def test_a_program_that_knows_nothing_of_mixing(where, gas):
    def run(at):
        fuse = Fuse(at, Trouble)

        class MyInner(Inner):
            def training_step(self, batch):
                batch = {**batch, "x": nn.functional.dropout(batch["x"], 0.3)}
                loss = super().training_step(batch)
                if where == "inner":
                    fuse.strike()
                return loss

        class MyOuter(DirectOuter):
            def training_step(self, batch):
                loss = super().training_step(batch)
                if where == "outer":
                    fuse.strike()
                return loss

        torch.manual_seed(2)
        inner, outer = problems(
            inner_config=Config(type="agwm", unroll_steps=2, gradient_accumulation=gas),
            outer_config=Config(gradient_accumulation=gas),
            inner=MyInner,
            outer=MyOuter,
            optimizer=lambda p: torch.optim.AdamW(p, lr=0.05),
        )
        built = engine(inner, outer, train_iters=8 * gas)
        built.train()
        while inner.count < 8 * gas or inner.is_unfinished:
            try:
                built.train_step()
            except Trouble:
                pass
        values = {"inner": inner.state_dict(), "outer": outer.state_dict(), "random": torch.get_rng_state()}
        return copy.deepcopy(values), fuse.calls

    expected, calls = run(None)
    assert calls >= 4
    for at in range(1, calls + 1):
        assert same(run(at)[0], expected), at


def test_two_lower_problems_are_not_stepped_twice():
    """The first of two leaves has stepped when the second is interrupted."""
    from betty.configs import EngineConfig
    from betty.engine import Engine

    def run(at):
        fuse = Fuse(at, Trouble)

        class Second(Inner):
            def training_step(self, batch):
                loss = super().training_step(batch)
                fuse.strike()
                return loss

        class Both(DirectOuter):
            def training_step(self, batch):
                logits = self.second.module(batch["x"]).squeeze(1)
                extra = nn.functional.binary_cross_entropy_with_logits(logits, batch["y"])
                return super().training_step(batch) + extra

        inner, outer = problems(inner_config=Config(type="agwm"), outer=Both)
        layer = linear()
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
        second = Second("second", Config(type="agwm"), layer, optimizer, None, batches(seed=5))
        dependencies = {"u2l": {outer: [inner, second]}, "l2u": {inner: [outer], second: [outer]}}
        built = Engine([outer, inner, second], EngineConfig(train_iters=3), dependencies)
        built.train()
        while second.count < 3 or second.is_unfinished:
            try:
                built.train_step()
            except Trouble:
                pass
        assert inner.count == second.count == outer.count == 3
        return [copy.deepcopy(problem.state_dict()) for problem in (inner, second, outer)], fuse.calls

    expected, calls = run(None)
    for at in range(1, calls + 1):
        assert same(run(at)[0], expected), at
