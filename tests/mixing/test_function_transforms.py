"""``torch.func`` and forward-mode differentiation of an injected model give the numbers of a plain one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, hessian, jacfwd, jacrev, jvp, vmap

import agwm
from agwm.mixing import formulas
from tests.mixing.hook_checks import randomize

X = torch.linspace(-1, 1, 5, dtype=torch.float64)


def injected(formula="convex"):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    mixup = agwm.inject(model, formula=formula, seed=0)
    mixup.attention.double()
    randomize(mixup)
    plain = copy.deepcopy(model)
    agwm.mixup_of(plain).merge()
    return mixup, plain


TRANSFORMS = {
    "jvp": lambda model: jvp(model, (X,), (X.square(),))[1],
    "jacfwd": lambda model: jacfwd(model)(X),
    "jacrev": lambda model: jacrev(model)(X),
    "hessian": lambda model: hessian(lambda x: model(x).square().sum())(X),
    "vmap": lambda model: vmap(model)(torch.stack([X, 2 * X])),
    "vmap without gradient": lambda model: torch.no_grad()(vmap(model))(torch.stack([X, 2 * X])),
    "vmap in inference": lambda model: torch.inference_mode()(vmap(model))(torch.stack([X, 2 * X])),
}


@pytest.mark.parametrize("formula", ["convex", "factored"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_by_the_input(name, formula):
    mixup, plain = injected(formula)
    torch.testing.assert_close(TRANSFORMS[name](mixup.model), TRANSFORMS[name](plain), rtol=1e-12, atol=0)


@pytest.mark.parametrize("formula", ["convex", "factored"])
def test_tangent_is_the_derivative_of_the_formula(formula):
    torch.manual_seed(1)
    inputs = [torch.rand(s, dtype=torch.float64) for s in ((3, 4), (3, 4), (3, 1), (1, 4))]
    tangents = [torch.randn_like(tensor) for tensor in inputs]
    value, tangent = getattr(formulas, formula), getattr(formulas, f"{formula}_tangent")

    def literal(task, pretrained, a, b):
        if formula == "convex":
            return a * b * task + (1 - a * b) * pretrained
        return a * b * task + (1 - a) * (1 - b) * pretrained

    expected = jvp(literal, tuple(inputs), tuple(tangents))[1]
    assert expected.norm() > 0.1
    torch.testing.assert_close(tangent(inputs, tangents), expected, rtol=1e-12, atol=1e-14)
    for one in range(4):
        single = [t if i == one else None for i, t in enumerate(tangents)]
        zeros = tuple(t if i == one else torch.zeros_like(t) for i, t in enumerate(tangents))
        expected = jvp(literal, tuple(inputs), zeros)[1]
        torch.testing.assert_close(tangent(inputs, single), expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(value(*inputs), literal(*inputs))


@pytest.mark.parametrize("formula", ["convex", "factored"])
def test_second_derivatives_by_the_weights(formula):
    mixup, _ = injected(formula)
    state = {name: parameter.detach() for name, parameter in mixup.model.named_parameters()}

    def loss(weights):
        return functional_call(mixup.model, weights, (X,)).square().sum()

    forward = hessian(loss)(state)["0.weight"]["2.weight"]
    reverse = jacrev(jacrev(loss))(state)["0.weight"]["2.weight"]
    assert reverse.norm() > 0.01
    torch.testing.assert_close(forward, reverse, rtol=1e-10, atol=1e-14)


def test_forward_mode_by_a_factor_of_alpha():
    mixup, _ = injected()
    alpha = mixup.attention["0.weight"]
    (expected,) = torch.autograd.grad(mixup.model(X).square().sum(), alpha.a)
    direction = torch.ones_like(alpha.a)
    task = dict(mixup.model.named_parameters())["0.weight"]
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(alpha.a.detach(), direction)
        mixed = agwm.mix_weights(task, mixup.pretrained["0.weight"], [dual, alpha.b])
        hidden = torch.tanh(nn.functional.linear(X, mixed, mixup.model[0].bias))
        out = nn.functional.linear(hidden, mixup.model[2].weight.clone(), mixup.model[2].bias)
        slope = forward_ad.unpack_dual(out.square().sum()).tangent
    torch.testing.assert_close(slope, (expected * direction).sum(), rtol=1e-10, atol=0)
