"""Betty programs that know nothing of mixing: with our type served, without it left alone."""

from __future__ import annotations

import pytest
import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem
from torch import Tensor, nn

import agwm
from agwm.errors import HypergradientError
from agwm.hypergradient.mended_problem import MendedProblem
from benchmarks import oracles
from tests.betty_programs import Decay, DirectOuter, Inner, batches, engine, linear, problems

ADAM = {"lr": 0.05, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}


def adamw(parameters) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, **ADAM)


def train_loss(weight: Tensor, rate: Tensor, batch: dict[str, Tensor]) -> Tensor:
    loss = nn.functional.binary_cross_entropy_with_logits((batch["x"] @ weight.t()).squeeze(1), batch["y"])
    return loss + (rate * weight**2).sum()


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("max_norm", [0.0, 0.05])
def test_hypergradient_of_decay_rates_is_exact_through_adamw(direct, max_norm):
    options = {"outer": DirectOuter} if direct else {}
    inner, outer = problems(
        inner_config=Config(type="agwm", gradient_clipping=max_norm), optimizer=adamw, **options
    )
    own = inner.optimizer
    seen, before = [], []
    built = engine(inner, outer, train_iters=4)
    inner.optimizer.register_step_pre_hook(
        lambda *_: before.append(
            (
                inner.module.weight.detach().clone(),
                {k: v.clone() for k, v in inner.optimizer.state.get(inner.module.weight, {}).items()},
            )
        )
    )
    outer.optimizer.register_step_pre_hook(
        lambda *_: seen.append((outer.module.rate.detach().clone(), outer.module.rate.grad.clone()))
    )
    built.run()
    assert inner.optimizer is own
    assert isinstance(inner, Inner) and type(inner).__name__ == "Inner"
    assert len(seen) == 4
    group = {**inner.optimizer.param_groups[0]}
    for number, ((weight, state), (rate, gradient)) in enumerate(zip(before, seen, strict=True)):
        weight, rate = weight.requires_grad_(), rate.requires_grad_()
        (slope,) = torch.autograd.grad(
            train_loss(weight, rate, batches()[number]), [weight], create_graph=True
        )
        (slope,) = oracles.clipped([slope], max_norm)
        reached = oracles.adam(weight.detach(), slope, group, state)
        held_out = train_loss(reached, torch.zeros(3, dtype=torch.float64), batches(seed=1)[number])
        (expected,) = torch.autograd.grad(held_out + (rate.sum() if direct else 0.0), [rate])
        assert expected.norm() > 0
        # through Adam's first step next to nothing is left to differentiate
        torch.testing.assert_close(gradient, expected, rtol=1e-5 if number else 1e-2, atol=1e-12)


def test_settings_are_taken_from_our_config():
    config = agwm.HypergradientConfig(hypergradient={"best_response": "sgd", "scheme": "forward"})
    inner, outer = problems(inner_config=config, optimizer=lambda p: torch.optim.RMSprop(p, lr=0.5))
    seen = []
    built = engine(inner, outer)
    start = inner.module.weight.detach().clone()
    outer.optimizer.register_step_pre_hook(
        lambda *_: seen.append((inner.module.weight.detach().clone(), outer.module.rate.grad.clone()))
    )
    built.run()
    ((reached, gradient),) = seen
    reached.requires_grad_()
    held_out = train_loss(reached, torch.zeros(3, dtype=torch.float64), batches(seed=1)[0])
    (vector,) = torch.autograd.grad(held_out, [reached])
    # the mixed derivative of rate * weight ** 2 is diagonal
    torch.testing.assert_close(gradient, (-0.5 * vector * 2 * start).flatten(), rtol=1e-6, atol=0)


def test_loss_may_be_the_documented_dict():
    class Documented(Inner):
        def training_step(self, batch):
            return {"loss": super().training_step(batch), "batch": 4.0}

    class OuterDict(DirectOuter):
        def training_step(self, batch):
            return {"loss": super().training_step(batch)}

    runs = []
    for kinds in ({"inner": Documented, "outer": OuterDict}, {"outer": DirectOuter}):
        inner, outer = problems(inner_config=Config(type="agwm"), optimizer=adamw, **kinds)
        engine(inner, outer, train_iters=3).run()
        runs.append(outer.module.rate.detach().clone())
    assert torch.equal(*runs)


def test_two_outer_problems_above_one_inner():
    class Two(Inner):
        def training_step(self, batch):
            weight = self.module.weight
            return super().training_step(batch) + (self.second.module.rate * weight**4).sum()

    def build(scheme: str):
        config = agwm.HypergradientConfig(hypergradient={"scheme": scheme})
        inner, outer = problems(inner_config=config, inner=Two, optimizer=adamw)
        decay = Decay()
        optimizer = torch.optim.SGD(decay.parameters(), lr=0.1)
        second = type(outer)("second", Config(), decay, optimizer, None, batches(seed=2))
        dependencies = {"u2l": {outer: [inner], second: [inner]}, "l2u": {inner: [outer, second]}}
        built = Engine([outer, second, inner], EngineConfig(train_iters=2), dependencies)
        built.run()
        return [problem.module.rate.detach().clone() for problem in (outer, second)]

    central, forward = build("central"), build("forward")
    for a, b in zip(central, forward, strict=True):
        assert not torch.equal(a, Decay().rate)
        torch.testing.assert_close(a, b, rtol=1e-6, atol=0)
    assert not torch.equal(central[0], central[1])


def test_three_levels_of_our_type_are_one_clear_line():
    class Top(ImplicitProblem):
        def training_step(self, batch):
            return self.outer.module.rate.sum() * self.module.weight.sum()

    inner, outer = problems(inner_config=Config(type="agwm"), outer_config=Config(type="agwm"))
    layer = linear()
    top = Top("top", Config(), layer, torch.optim.SGD(layer.parameters(), lr=0.1), None, batches(seed=3))
    dependencies = {"u2l": {outer: [inner], top: [inner]}, "l2u": {inner: [outer], outer: [top]}}
    built = Engine([top, outer, inner], EngineConfig(train_iters=1), dependencies)
    with pytest.raises(HypergradientError, match="No inner step to differentiate"):
        built.run()


def test_optimizer_without_a_derivative_is_one_clear_line():
    with pytest.raises(HypergradientError, match="No derivative of the inner optimizer.*RMSprop"):
        engine(*problems(inner_config=Config(type="agwm"), optimizer=torch.optim.RMSprop))


def test_programs_without_our_type_are_left_alone():
    inner, outer = problems()
    own = inner.optimizer
    engine(inner, outer).run()
    assert type(inner) is Inner
    assert not isinstance(inner, MendedProblem) and not isinstance(outer, MendedProblem)
    assert inner.optimizer is not own  # rebuilt, as Betty does
    assert ImplicitProblem.__mro__[1].__module__ == "betty.problems.problem"


def test_betty_types_work_with_our_problems():
    """The direct term makes Betty walk the outer graph twice."""
    from tests.search_runs import tiny_classifier, vector_batches

    mixup = agwm.inject(tiny_classifier(), include="*weight", init_std=0.2, seed=0)
    inner = agwm.TaskWeightProblem(
        mixup, vector_batches(2), torch.optim.AdamW(mixup.model.parameters()), config=Config(type="darts")
    )
    outer = agwm.AttentionProblem(
        mixup, vector_batches(2, seed=1), torch.optim.AdamW(mixup.attention.parameters(), lr=0.1)
    )
    before = [p.detach().clone() for p in mixup.attention.parameters()]
    agwm.MixupEngine(inner, outer, EngineConfig(train_iters=2), progress=False).run()
    assert any(not torch.equal(a, b) for a, b in zip(before, mixup.attention.parameters(), strict=True))
