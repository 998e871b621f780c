"""A pass that is made again sees the buffers and generators of the first, and leaves no trace."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from betty.configs import Config
from torch import Tensor, nn

import agwm
from agwm.errors import ConfigError
from agwm.hypergradient import pass_state
from agwm.hypergradient.pass_state import PassState, Scope
from agwm.rng import RngState, replay
from tests.betty_programs import Inner, Outer, batches, engine, problems
from tests.search_runs import Search, tiny_classifier, vector_batches


class Counter(nn.Module):
    """A layer whose output depends on how often it was called, in one of several ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        size = pass_state._SMALL + 1 if way == "large" else 1
        start = None if way == "none" else torch.zeros(size, dtype=torch.float64)
        if way != "new":
            self.register_buffer("count", start, persistent=way != "not persistent")

    def forward(self, x: Tensor) -> Tensor:
        zero = torch.zeros(1, dtype=torch.float64)
        if self.way in ("assigned", "none"):
            self.count = (zero if self.count is None else self.count) + 1
        elif self.way == "grows":
            self.count = torch.cat([self.count, zero + self.count[-1] + 1])
        elif self.way == "new":
            if "count" not in self._buffers:
                self.register_buffer("count", zero + 1)
            else:
                self.count += 1
        elif self.way == "untracked":
            self.count.data += 1
        else:
            self.count += 1
        return x * (1 + 0.3 * self.count[-1])


WAYS = ["in place", "assigned", "none", "grows", "new", "untracked", "large", "not persistent"]


def counted(way, **options):
    model = tiny_classifier()
    model.dropout = Counter(way)
    return Search(
        model,
        "*weight",
        lr=0.5,
        optimizer=torch.optim.SGD,
        inner=vector_batches(3),
        outer=vector_batches(3, seed=1),
        **({"train_iters": 3, "hypergradient": {}} | options),
    )


@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize("way", WAYS)
def test_buffers_of_a_pass_are_replayed(way, scheme):
    search = counted(way, hypergradient={"scheme": scheme}, train_iters=2)
    calls = []
    layer = search.model.dropout
    layer.register_forward_hook(lambda module, *_: calls.append(float(module.count[-1])))
    search.run()
    passes = 2 if scheme == "central" else 1
    # of each step: the inner pass, the outer one, the difference as the inner one
    expected = []
    for step in range(2):
        inner, outer = 2 * step + 1.0, 2 * step + 2.0
        expected += [inner, outer, *[inner] * passes]
    assert calls == expected
    assert float(layer.count[-1]) == 4.0


@pytest.mark.parametrize("roll_back", [False, True])
def test_statistics_of_batch_normalization_move_once_a_pass(roll_back):
    model = tiny_classifier()
    model.dropout = nn.BatchNorm1d(7).double()
    data = {"inner": vector_batches(3), "outer": vector_batches(3, seed=1)}
    search = Search(model, "*weight", **data, train_iters=3, roll_back=roll_back, hypergradient={})
    buffers = dict(model.named_buffers())
    search.run()
    assert int(model.dropout.num_batches_tracked) == 6  # three inner and three outer passes
    assert all(buffer is buffers[name] for name, buffer in model.named_buffers())


def test_roll_back_with_alpha_held_still_changes_no_buffer():
    runs = []
    for roll_back in (False, True):
        search = counted("in place", roll_back=roll_back, outer_lr=0.0, unroll_steps=3, train_iters=6)
        search.outer_optimizer.param_groups[0]["weight_decay"] = 0.0
        search.run()
        runs.append(search)
    plain, rolled = runs
    assert torch.equal(plain.model.dropout.count, rolled.model.dropout.count)
    for name, weight in plain.weights().items():
        if name != "unused":
            torch.testing.assert_close(rolled.weights()[name], weight, rtol=0, atol=0)


def test_large_buffers_are_copied_when_they_change_and_only_then(monkeypatch):
    module = nn.Module()
    module.register_buffer("mask", torch.zeros(pass_state._SMALL + 1))
    scope = Scope(torch.device("cpu"), [module])
    first, second = PassState.capture(scope), PassState.capture(scope)
    copy = first.buffers[0][1]["mask"][1]
    assert second.buffers[0][1]["mask"][1] is copy
    module.mask += 1
    third = PassState.capture(scope)
    assert third.buffers[0][1]["mask"][1] is not copy
    own = module.mask
    first.restore()
    assert module.mask is own and not module.mask.any()
    third.restore()
    assert module.mask is own and bool(module.mask.all())
    assert PassState.capture(scope).buffers[0][1]["mask"][1] is third.buffers[0][1]["mask"][1]


def test_shapes_that_change_come_back():
    module = nn.Module()
    module.register_buffer("a", torch.ones(2))
    module.register_buffer("b", None)
    scope = Scope(torch.device("cpu"), [module])
    state, own = PassState.capture(scope), module.a
    with replay(state):
        module.a.resize_(5).zero_()
        module.b = torch.ones(1)
        module.register_buffer("c", torch.ones(1))
    assert module.a is own and torch.equal(module.a, torch.ones(2))
    assert module.b is None and list(module._buffers) == ["a", "b"]


GENERATORS = {
    "torch": (lambda: torch.Generator().manual_seed(1), lambda g: torch.rand(1, generator=g).item()),
    "numpy": (lambda: np.random.default_rng(1), lambda g: g.random()),
    "old numpy": (lambda: np.random.RandomState(1), lambda g: g.random_sample()),
    "python": (lambda: random.Random(1), lambda g: g.random()),
}
PLACES = ["problem", "list", "module", "dict of the module", "other module", "closure", "loader"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", GENERATORS)
def test_generators_are_replayed_wherever_they_are_held(kind, place):
    make, draw = GENERATORS[kind]
    if place == "loader" and kind != "torch":
        pytest.skip("loaders take generators of torch")
    generator, drawn = make(), []

    class Drawing(Inner):
        def training_step(self, batch):
            drawn.append(draw(generator if place == "closure" else self.find()))
            return super().training_step(batch) * (1 + drawn[-1])

    inner, outer = problems(inner_config=Config(type="agwm"), inner=Drawing)
    finders = {
        "problem": lambda: inner.noise,
        "list": lambda: inner.noise[0],
        "module": lambda: inner.module.noise,
        "dict of the module": lambda: inner.module.noise["a"],
        "other module": lambda: inner.teacher.noise,
        "closure": None,
        "loader": lambda: inner.train_data_loader[0].loader.generator,
    }
    if place in ("problem", "list"):
        inner.noise = [generator] if place == "list" else generator
    elif place in ("module", "dict of the module"):
        inner.module.noise = {"a": generator} if place != "module" else generator
    elif place == "other module":
        inner.teacher = nn.Linear(1, 1)
        inner.teacher.noise = generator
    elif place == "loader":
        loader = torch.utils.data.DataLoader(inner.train_data_loader, None, generator=generator)
        inner.train_data_loader = loader
    Drawing.find = lambda self: finders[place]()
    engine(inner, outer, train_iters=2).run()
    first, second = drawn[:3], drawn[3:]
    assert first == [first[0]] * 3 and second == [second[0]] * 3 and first[0] != second[0]


@pytest.mark.parametrize("name", ["mps", "xpu"])
def test_random_state_of_other_accelerators(name, monkeypatch):
    kept = {"state": torch.arange(4)}

    class Module:
        @staticmethod
        def get_rng_state(*device):
            assert device == (() if name == "mps" else (torch.device(name),))
            return kept["state"].clone()

        @staticmethod
        def set_rng_state(state, *device):
            kept["state"] = state

    monkeypatch.setattr(torch, name, Module)
    state = RngState.capture(name)
    kept["state"] = torch.zeros(4)
    state.restore()
    assert torch.equal(kept["state"], torch.arange(4))


def test_accelerator_without_a_random_state_is_refused():
    with pytest.raises(ConfigError, match=r"Random state of device 'hpu' cannot be kept"):
        RngState.capture("hpu")


def test_a_module_that_only_a_problem_holds():
    """A third module, registered on the problem, is replayed and left as the step left it."""

    class Taught(Inner):
        def training_step(self, batch):
            return super().training_step(batch) * self.teacher(torch.ones(1, dtype=torch.float64)).sum()

    inner, outer = problems(inner_config=Config(type="agwm"), inner=Taught)
    inner.teacher = Counter("in place")
    seen = []
    inner.teacher.register_forward_hook(lambda module, *_: seen.append(float(module.count)))
    engine(inner, outer, train_iters=2).run()
    assert seen == [1, 1, 1, 2, 2, 2] and float(inner.teacher.count) == 2


@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize(
    "normed", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm], ids=["old", "new"]
)
def test_spectral_norm_is_differentiated_as_autograd_does(normed, scheme):
    """Its vectors are constants to autograd; the reference has them as buffers of an evaluated layer."""
    torch.manual_seed(0)
    data, held_out = batches(1)[0], batches(1, seed=1)[0]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = normed(nn.Linear(3, 5).double())
            self.last = nn.Linear(5, 1).double()

        def forward(self, x):
            return self.last(torch.tanh(self.hidden(x)))

    def loss(net, rate, batch):
        logits = net(batch["x"]).squeeze(1)
        own = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch["y"])
        return own + (rate.sum() * logits**2).mean()

    class MyInner(Inner):
        def training_step(self, batch):
            return loss(self.module, self.outer.module.rate, batch)

    class MyOuter(Outer):
        def training_step(self, batch):
            return loss(self.inner.module, torch.zeros(3), batch)

    net = Net()
    twin = Net()
    twin.load_state_dict(net.state_dict())
    config = agwm.HypergradientConfig(hypergradient={"scheme": scheme})
    inner, outer = problems(inner_config=config, inner=MyInner, outer=MyOuter, module=net)
    seen = []
    built = engine(inner, outer)
    rate = outer.module.rate.detach().clone().requires_grad_()
    outer.optimizer.register_step_pre_hook(lambda *_: seen.append(outer.module.rate.grad.clone()))
    built.run()
    twin.train()
    twin(data["x"])  # the iteration of the inner pass
    twin.eval()
    weights = list(twin.parameters())
    slopes = torch.autograd.grad(loss(twin, rate, data), weights, create_graph=True)
    after = Net()
    after.load_state_dict(twin.state_dict())
    with torch.no_grad():
        for weight, slope in zip(after.parameters(), slopes, strict=True):
            weight.sub_(0.5 * slope)
    after.train()
    vectors = torch.autograd.grad(loss(after, torch.zeros(3), held_out), list(after.parameters()))
    product = sum((slope * vector).sum() for slope, vector in zip(slopes, vectors, strict=True))
    (expected,) = torch.autograd.grad(-0.5 * product, [rate])
    assert expected.norm() > 0
    torch.testing.assert_close(seen[0], expected, rtol=1e-6, atol=0)
