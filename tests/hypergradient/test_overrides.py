"""A Betty program keeps its own parts: a user's methods are called, or refused in one line."""

from __future__ import annotations

import abc

import pytest
import torch
from betty.configs import Config
from betty.problems import ImplicitProblem
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

import agwm
from agwm.errors import ConfigError, HypergradientError
from tests.betty_programs import Inner, Outer, batches, engine, linear, problems
from tests.search_runs import Search, tiny_classifier, vector_batches

# Each with super(): what stock Betty calls in a step with roll-back and clipping.
METHODS = [
    "backward", "cache_states", "check_ready", "clip_grad", "get_batch", "get_batch_single_loader",
    "get_loss", "initialize", "meta_trainable_parameters", "one_step_descent", "optimizer_step",
    "patch_data_loader", "patch_everything", "patch_module", "patch_optimizer", "patch_scheduler",
    "recover_states", "step", "step_after_roll_back", "step_normal", "train", "trainable_parameters",
    "training_step_exec", "zero_grad",
]  # fmt: skip


def noting(name, called):
    def method(self, *args, **kwargs):
        called.append(name)
        return getattr(super(kind, self), name)(*args, **kwargs)

    kind = type("Noting", (Inner,), {name: method})
    return kind


def run(inner=Inner, outer=Outer, **options):
    config = {"inner_config": Config(type="agwm", gradient_clipping=0.1)} | options
    built = problems(**config, inner=inner, outer=outer, scheduler=lambda o: LambdaLR(o, lambda n: 0.9**n))
    engine(*built, roll_back=True, train_iters=2).run()
    return built


@pytest.mark.parametrize("name", METHODS)
def test_overrides_that_call_super_are_called_and_change_nothing(name):
    called = []
    inner, outer = run(noting(name, called))
    plain, plain_outer = run()
    assert called and type(inner).__name__ == "Noting"
    assert torch.equal(inner.module.weight, plain.module.weight)
    assert torch.equal(outer.module.rate, plain_outer.module.rate)


def test_set_grads_has_no_derivative_and_is_called_where_none_is_needed():
    called = []
    kind = noting("set_grads", called)
    with pytest.raises(HypergradientError, match="No derivative of set_grads.*class Noting"):
        run(kind)
    run(kind, inner_config=agwm.HypergradientConfig(hypergradient={"best_response": "sgd"}))
    assert called


WITHOUT_SUPER = {
    "get_loss": lambda self, batch: (self.training_step(batch), {}),
    "optimizer_step": lambda self, *_, **__: self.optimizer.step(),
    "one_step_descent": lambda self, batch=None: {},
}


@pytest.mark.parametrize("best_response", ["identity", "sgd", "optimizer"])
@pytest.mark.parametrize("name", WITHOUT_SUPER)
def test_inner_override_that_records_nothing_is_refused(name, best_response):
    kind = type("Mine", (Inner,), {name: WITHOUT_SUPER[name]})
    config = agwm.HypergradientConfig(hypergradient={"best_response": best_response})
    with pytest.raises(HypergradientError, match=rf"was not recorded: expected Mine\.{name} to call super"):
        run(kind, inner_config=config)
    run(kind, inner_config=agwm.HypergradientConfig(hypergradient={"order": "first"}))


@pytest.mark.parametrize(
    "method",
    [
        {"backward": lambda self, loss, params, *_, **__: loss.backward()},
        {"one_step_descent": lambda self, batch=None: {}},
    ],
    ids=["backward", "one_step_descent"],
)
def test_outer_override_without_the_hypergradient_is_refused(method):
    (name,) = method
    kind = type("Mine", (Outer,), method)
    with pytest.raises(HypergradientError, match=rf"'outer' was not recorded: expected Mine\.{name}"):
        run(outer=kind)


def halve(self, *args, **kwargs):
    for parameter in self.module.parameters():
        parameter.grad.mul_(0.5)


def changing(name):
    def method(self, *args, **kwargs):
        if name != "backward":
            halve(self)
        outcome = getattr(super(kind, self), name)(*args, **kwargs)
        if name == "backward":
            halve(self)
        return outcome

    kind = type("Mine", (Inner,), {name: method})
    return kind


@pytest.mark.parametrize("name", ["backward", "clip_grad", "optimizer_step"])
def test_override_that_changes_gradients_has_no_derivative(name):
    with pytest.raises(HypergradientError, match=rf"No derivative of Mine\.{name}"):
        run(changing(name))
    run(changing(name), inner_config=agwm.HypergradientConfig(hypergradient={"best_response": "sgd"}))


def test_own_clipping_is_called_and_has_no_derivative():
    called = []

    def clip(self):
        called.append(1)
        torch.nn.utils.clip_grad_value_(self.trainable_parameters(), 0.01)

    kind = type("Mine", (Inner,), {"clip_grad": clip})
    with pytest.raises(HypergradientError, match=r"No derivative of Mine\.clip_grad"):
        run(kind)
    config = agwm.HypergradientConfig(hypergradient={"best_response": "sgd"}, gradient_clipping=0.1)
    called.clear()
    run(kind, inner_config=config)
    assert called


def test_loss_that_get_loss_adds_to_is_differentiated_with_it():
    class Added(Inner):
        def get_loss(self, batch):
            loss, numbers = super().get_loss(batch)
            return loss + (self.outer.module.rate * self.module.weight**4).sum(), numbers

    class Written(Inner):
        def training_step(self, batch):
            return super().training_step(batch) + (self.outer.module.rate * self.module.weight**4).sum()

    rates = [run(kind)[1].module.rate for kind in (Added, Written)]
    torch.testing.assert_close(*rates, rtol=1e-12, atol=0)
    assert not torch.allclose(rates[0], run()[1].module.rate)


def test_parameters_of_the_users_choice():
    """A list that holds a frozen parameter, and one that leaves a parameter out."""

    class Chosen(Inner):
        def trainable_parameters(self):
            return [self.module.weight, self.module.frozen]

    module = linear()
    module.frozen = nn.Parameter(torch.ones(1), requires_grad=False)
    module.left = nn.Parameter(torch.ones(1))
    inner, _ = run(Chosen, module=module)
    assert torch.equal(module.frozen, torch.ones(1)) and torch.equal(module.left, torch.ones(1))
    assert torch.equal(inner.module.weight, run()[0].module.weight)


def grouped(self):
    return [{"params": [self.module.weight], "lr": 0.3}, {"params": [self.module.bias], "lr": 0.0}]


class WithGroups(Inner):
    param_groups = grouped


def test_param_groups_are_those_that_step():
    layer = nn.Linear(3, 1).double()
    bias = layer.bias.detach().clone()
    inner, outer = problems(inner_config=Config(type="agwm"), inner=WithGroups, module=layer)
    own = inner.optimizer
    engine(inner, outer, train_iters=3).run()
    assert inner.optimizer is own
    assert [group["lr"] for group in own.param_groups] == [0.3, 0.0]
    assert [group["momentum"] for group in own.param_groups] == [0, 0]
    assert torch.equal(layer.bias, bias)


def test_param_groups_as_a_list_of_parameters():
    class Listed(Inner):
        def param_groups(self):
            return [self.module.weight]

    inner, _ = run(Listed)
    assert torch.equal(inner.module.weight, run()[0].module.weight)


def test_schedulers_follow_the_param_groups():
    def built(scheduler):
        layer = nn.Linear(3, 1).double()
        return problems(
            inner_config=Config(type="agwm"), inner=WithGroups, module=layer, scheduler=scheduler
        )

    inner, outer = built(lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5))
    engine(inner, outer, train_iters=2).run()
    assert [group["lr"] for group in inner.optimizer.param_groups] == [0.075, 0.0]
    with pytest.raises(ConfigError, match="Scheduler of problem 'inner' does not fit.*OneCycleLR"):
        engine(*built(lambda o: OneCycleLR(o, max_lr=1.0, total_steps=9)))


def test_param_groups_of_our_own_problems():
    class Task(agwm.TaskWeightProblem):
        def param_groups(self):
            return [
                {"params": [p for p in self.module.parameters() if p.dim() > 1], "lr": 0.3},
                {"params": [self.module.first.bias], "lr": 0.0},
            ]

    data = {"inner": vector_batches(2), "outer": vector_batches(2), "train_iters": 2}
    search = Search(tiny_classifier(), "*weight", inner_problem=Task, hypergradient={}, **data)
    bias = search.model.first.bias.detach().clone()
    search.engine.run()
    assert [group["lr"] for group in search.inner_optimizer.param_groups] == [0.3, 0.0]
    assert torch.equal(search.model.first.bias, bias)


@pytest.mark.parametrize("hook", ["param_callback", "custom_optimizer_step", "optimizer_step"])
def test_alpha_stays_in_range_whatever_hooks_the_outer_problem_has(hook):
    called = []

    def method(self, *_, **__):
        called.append(1)
        if hook != "param_callback":
            self.optimizer.step()
        else:
            self.module.get_parameter(next(iter(dict(self.module.named_parameters())))).data.add_(3.0)

    mixup = agwm.inject(tiny_classifier(), include="*weight", init_std=0.2, seed=0)
    agwm.build_engine(
        mixup,
        vector_batches(2),
        vector_batches(2),
        torch.optim.SGD(mixup.model.parameters(), lr=0.1),
        torch.optim.SGD(mixup.attention.parameters(), lr=50.0),
        3,
        outer=type("Mine", (agwm.AttentionProblem,), {hook: method}),
        progress=False,
    ).run()
    factors = torch.cat([p.detach().flatten() for p in mixup.attention.parameters()])
    assert called and float(factors.min()) >= 0 and float(factors.max()) <= 1
    assert bool(((factors == 0) | (factors == 1)).any())


def test_names_that_agwm_adds_are_refused_in_a_users_class():
    with pytest.raises(ConfigError, match="expected Mine to leave 'step_number' to agwm"):
        run(type("Mine", (Inner,), {"step_number": 3}))
    inner, outer = problems(inner_config=Config(type="agwm"))
    inner.hypergradient = "mine"
    with pytest.raises(ConfigError, match="expected Inner to leave 'hypergradient' to agwm"):
        engine(inner, outer)


def test_classes_of_any_make_are_adopted():
    """A metaclass, a registry of subclasses with arguments, and bases of the user's own."""
    registry = {}

    class Mixin:
        def training_step(self, batch):
            return super().training_step(batch) * 2

    class Base(Inner, abc.ABC):
        def __init_subclass__(cls, key, **kwargs):
            super().__init_subclass__(**kwargs)
            registry[key] = cls

    class Mine(Mixin, Base, key="mine"):
        pass

    inner, _ = run(Mine)
    assert registry == {"mine": Mine} and isinstance(inner, Mine)
    twice, _ = run(type("Twice", (Mixin, Inner), {}))
    assert torch.equal(inner.module.weight, twice.module.weight)


def test_problem_of_another_kind_is_refused():
    from betty.problems import IterativeProblem

    inner, outer = problems(inner_config=Config(type="agwm"))
    inner.__class__ = type("Mine", (IterativeProblem,), {"training_step": Inner.training_step})
    with pytest.raises(ConfigError, match="'inner' cannot be in an engine.*ImplicitProblem, got Mine"):
        engine(inner, outer)


def test_optimizer_of_parameters_that_never_learn_is_refused():
    stranger = nn.Linear(2, 2).double()
    optimizer = lambda parameters: torch.optim.SGD([*parameters, *stranger.parameters()], lr=0.1)  # noqa: E731
    with pytest.raises(ConfigError, match=r"'inner' holds parameters that never learn.*got 2 of others"):
        engine(*problems(inner_config=Config(type="agwm"), optimizer=optimizer))


def test_optimizer_that_needs_a_closure_is_refused():
    config = agwm.HypergradientConfig(hypergradient={"best_response": "sgd"})
    with pytest.raises(ConfigError, match="'inner' is unusable.*no closure, got LBFGS"):
        engine(*problems(inner_config=config, optimizer=lambda p: torch.optim.LBFGS(p)))
    mixup = agwm.inject(tiny_classifier(), include="*weight")
    inner = torch.optim.SGD(mixup.model.parameters(), lr=0.1)
    outer = torch.optim.LBFGS(mixup.attention.parameters())
    with pytest.raises(ConfigError, match="'outer' is unusable.*no closure, got LBFGS"):
        agwm.build_engine(mixup, vector_batches(1), vector_batches(1), inner, outer, 1)


def test_sparse_gradients_are_refused_with_the_name():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(9, 3, sparse=True, dtype=torch.float64)
            self.weight = nn.Parameter(torch.ones(1, 3, dtype=torch.float64))

        def forward(self, x):
            return self.words(x.abs().long().sum(1) % 9) @ self.weight.t()

    inner, outer = problems(inner_config=Config(type="agwm"), module=Words())
    with pytest.raises(HypergradientError, match=r"Gradient of 'words.weight' is unusable.*sparse=False"):
        engine(inner, outer).run()


def test_chain_of_three_levels_works():
    """The lowest problem's hyper-parameters are those of the middle, whose own are those of the top."""

    class Middle(Outer):
        def training_step(self, batch):
            return super().training_step(batch) + (self.top.module.rate * self.module.rate**2).sum()

    class Top(ImplicitProblem):
        def training_step(self, batch):
            return ((self.outer.module.rate - 0.5) ** 2).sum()

    from betty.configs import EngineConfig
    from betty.engine import Engine

    from tests.betty_programs import Decay

    inner, outer = problems(
        inner_config=Config(type="agwm"), outer_config=Config(type="agwm"), outer=Middle
    )
    module = Decay()
    top = Top("top", Config(), module, torch.optim.SGD(module.parameters(), lr=1.0), None, batches(seed=3))
    dependencies = {"u2l": {outer: [inner], top: [outer]}, "l2u": {inner: [outer], outer: [top]}}
    start, rates = module.rate.detach().clone(), []
    built = Engine([top, outer, inner], EngineConfig(train_iters=1), dependencies)
    outer.optimizer.register_step_pre_hook(lambda *_: rates.append(outer.module.rate.detach().clone()))
    built.run()
    # one SGD step of the middle at rate 0.1: d rate' / d top = -0.1 * 2 * rate, v = 2 (rate' - 0.5)
    expected = -0.1 * 2 * rates[0] * 2 * (outer.module.rate.detach() - 0.5)
    torch.testing.assert_close(start - module.rate.detach(), expected, rtol=1e-6, atol=1e-12)
