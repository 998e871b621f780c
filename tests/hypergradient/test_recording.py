"""A recording holds values, and knows which weights clipping counts and which the optimizer steps."""

from __future__ import annotations

import pytest
import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from torch.optim.lr_scheduler import LambdaLR

import agwm
from agwm.errors import HypergradientError
from benchmarks import oracles
from tests.betty_programs import Inner, batches, engine, linear, problems
from tests.search_runs import Search, tiny_classifier, vector_batches


def first_rate(inner_config=None, **options):
    """Return the gradients by the upper rates that the first outer steps saw."""
    inner, outer = problems(inner_config=inner_config or Config(type="agwm", unroll_steps=2), **options)
    seen = []
    built = engine(inner, outer, train_iters=6)
    outer.optimizer.register_step_pre_hook(lambda *_: seen.append(outer.module.rate.grad.clone()))
    built.run()
    return torch.stack(seen)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


SETTINGS = {
    "sgd": (torch.optim.SGD, {"lr": 0.5}),
    "momentum": (torch.optim.SGD, {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.1}),
    "adam": (torch.optim.Adam, {"lr": 0.05, "weight_decay": 0.1}),
    "adamw": (torch.optim.AdamW, {"lr": 0.05, "weight_decay": 0.1, "eps": 1e-6}),
}


@pytest.mark.parametrize("best_response", ["sgd", "optimizer"])
@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_that_are_tensors_count_as_they_were_at_the_step(kind, best_response):
    optimizer, settings = SETTINGS[kind]
    config = agwm.HypergradientConfig(hypergradient={"best_response": best_response}, unroll_steps=2)

    def run(lr):
        return first_rate(
            config,
            optimizer=lambda p: optimizer(p, **{**settings, "lr": lr}),
            scheduler=lambda o: LambdaLR(o, lambda n: 0.3**n),
        )

    expected = run(settings["lr"])
    assert expected.abs().min() > 0
    torch.testing.assert_close(run(number(settings["lr"])), expected, rtol=1e-9, atol=1e-15)


def test_lists_and_tensors_changed_in_place_before_the_outer_step():
    """A user's scheduler of the betas, weight decay and eps, which writes into the very objects."""

    class InPlace:
        def __init__(self, optimizer):
            self.group = optimizer.param_groups[0]

        def step(self):
            for key in ("weight_decay", "eps"):
                if isinstance(self.group[key], torch.Tensor):
                    self.group[key].mul_(0.5)
                else:
                    self.group[key] *= 0.5
            beta, other = self.group["betas"]
            if isinstance(self.group["betas"], list):
                self.group["betas"][0] = 0.9 * beta
            else:
                self.group["betas"] = (0.9 * beta, other)

        def state_dict(self):
            return {}

    def run(**settings):
        def optimizer(parameters):
            made = torch.optim.Adam(parameters, lr=0.05, foreach=False)
            made.param_groups[0].update(settings)
            return made

        return first_rate(optimizer=optimizer, scheduler=InPlace)

    expected = run(weight_decay=0.1, eps=1e-6, betas=(0.8, 0.95))
    got = run(weight_decay=number(0.1), eps=number(1e-6), betas=[0.8, 0.95])
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("best_response", ["identity", "sgd", "optimizer"])
@pytest.mark.parametrize("held", [["first", "last"], ["last"], ["first"]])
def test_clipping_counts_what_the_optimizer_does_not_step(held, best_response):
    parameters = []

    def optimizer(groups, **settings):
        every = [p for group in groups for p in group["params"]]
        own = {id(p) for name in held for p in getattr(search_model, name).parameters()}
        parameters.extend(p for p in every if id(p) in own)
        return torch.optim.SGD(parameters, lr=0.5)

    search_model = tiny_classifier()
    search = Search(
        search_model,
        "*weight",
        optimizer=optimizer,
        inner=vector_batches(3),
        outer=vector_batches(3, seed=1),
        train_iters=3,
        gradient_clipping=0.05,
        hypergradient={"best_response": best_response},
    )
    names = {n for n, p in search_model.named_parameters() if any(p is q for q in parameters)}
    moments = search.run()
    for moment in moments:
        assert all(
            torch.equal(moment.before[name], moment.updated[name]) == (name not in names)
            for name in moment.before
            if name != "unused"
        )
        moment.groups = {name: moment.groups.get(name, {"lr": 0.0}) for name in moment.before}
        moment.states = {name: {} for name in moment.before}
        if best_response == "identity":
            expected = oracles.identity(search.loss, moment, moment.updated)
        else:
            limit = 0.05 if best_response == "optimizer" else 0.0
            expected = oracles.unrolled(search.loss, moment, oracles.plain_sgd, limit, at_taken=True)
        assert oracles.relative_error(moment.gradient, expected) < 1e-7


def test_step_that_the_outer_one_does_not_follow_is_refused():
    """Two lower problems whose unrolled steps end at different times."""

    def run(hypergradient):
        def config(steps):
            return agwm.HypergradientConfig(hypergradient=hypergradient, unroll_steps=steps)

        inner, outer = problems(inner_config=config(2))
        layer = linear()
        second = Inner(
            "second", config(3), layer, torch.optim.SGD(layer.parameters(), lr=0.3), None, batches(seed=5)
        )
        dependencies = {"u2l": {outer: [inner, second]}, "l2u": {inner: [outer], second: [outer]}}
        Engine([outer, inner, second], EngineConfig(train_iters=3), dependencies).run()

    with pytest.raises(
        HypergradientError, match="Recorded step is not the last one.*step 2 of 'inner', got 3"
    ):
        run({})
    run({"best_response": "identity"})


@pytest.mark.parametrize("where", ["inner", "outer"])
@pytest.mark.parametrize("gas", [1, 2])
def test_gradients_that_were_there_before_do_not_count(where, gas):
    def run(is_dirty):
        config = Config(type="agwm", gradient_accumulation=gas)
        inner, outer = problems(inner_config=config, outer_config=Config(gradient_accumulation=gas))
        built = engine(inner, outer, train_iters=4)
        module = (inner if where == "inner" else outer).module
        if is_dirty:
            for parameter in module.parameters():
                parameter.grad = torch.full_like(parameter, 3.0)
        built.run()
        return inner.module.weight, outer.module.rate

    for clean, dirty in zip(run(False), run(True), strict=True):
        assert torch.equal(clean, dirty)


def test_gradients_of_a_warm_up_do_not_enter_a_search():
    def run(is_dirty):
        search = Search(
            tiny_classifier(), "*weight", inner=vector_batches(3), outer=vector_batches(3), train_iters=2
        )
        if is_dirty:
            search.model(**vector_batches(1)[0]).loss.backward()
            search.model.frozen.grad = torch.ones_like(search.model.frozen)
            assert all(p.grad is not None for p in search.mixup.attention.parameters())
        search.run()
        return search

    clean, dirty = run(False), run(True)
    assert all(torch.equal(a, dirty.weights()[name]) for name, a in clean.weights().items())
    assert all(torch.equal(a, dirty.alpha()[name]) for name, a in clean.alpha().items())
    for a, b in zip(clean.moments, dirty.moments, strict=True):
        assert all(torch.equal(a.gradient[name], b.gradient[name]) for name in a.gradient)
