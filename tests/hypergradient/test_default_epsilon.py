"""The default epsilon has a scale where W has none, and looks past entries that change nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from agwm.hypergradient.finite_difference import (
    default_epsilon,
    global_norm,
    mixed_derivative,
    relative_epsilon,
)

SCHEMES = ("central", "forward")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weighted_loss(weights: Tensor, rates: Tensor) -> Tensor:
    """Logistic regression on 20 features; each example has a weight that is learned above."""
    x = draw(200, 20).to(rates.dtype)
    labels = (x @ draw(20, seed=1).to(rates.dtype) > 0).to(rates.dtype)
    losses = nn.functional.binary_cross_entropy_with_logits(x @ weights, labels, reduction="none")
    return (losses * torch.sigmoid(rates)).mean()


def difference_error(weight: Tensor, direction: Tensor, scheme: str) -> float:
    """Return the relative error of the difference with the default epsilon, against double backward."""
    rates = draw(200, seed=2).to(weight.dtype).requires_grad_()
    parameter = nn.Parameter(weight.clone())

    def gradient() -> list[Tensor]:
        with torch.enable_grad():
            return list(torch.autograd.grad(weighted_loss(parameter, rates), [rates]))

    epsilon = default_epsilon(scheme, weight.dtype, [parameter], [direction])
    step = epsilon / float(global_norm([direction]))
    (got,) = mixed_derivative(gradient, [parameter], [direction], step, scheme)
    wide, at = rates.detach().double().requires_grad_(), weight.double().requires_grad_()
    (slope,) = torch.autograd.grad(weighted_loss(at, wide), [at], create_graph=True)
    (expected,) = torch.autograd.grad(slope @ direction.double(), [wide])
    assert expected.norm() > 0
    return float((got.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("dtype", "limits"), [(torch.float32, (3e-4, 5e-3)), (torch.float64, (1e-8, 1e-6))]
)
@pytest.mark.parametrize("norm", [0.0, 1e-8, 1e-3, 0.05, 0.3, 1.0, 100.0])
@pytest.mark.parametrize("length", [1e-6, 0.05, 10.0])
def test_weights_of_any_size_have_an_accurate_difference(scheme, dtype, limits, norm, length):
    start, direction = (draw(20, seed=seed).to(dtype) for seed in (3, 4))
    weight, direction = norm * start / start.norm(), length * direction / direction.norm()
    assert difference_error(weight, direction, scheme) < limits[SCHEMES.index(scheme)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_length_of_u_is_nothing_to_epsilon(scheme):
    weights, direction = [draw(40, 30).float()], [draw(40, 30, seed=1).float()]
    once = default_epsilon(scheme, torch.float32, weights, direction)
    assert default_epsilon(scheme, torch.float32, weights, [1024 * direction[0]]) == pytest.approx(once)
    untouched = [torch.zeros(500, 500)]
    with_more = default_epsilon(
        scheme, torch.float32, [*weights, torch.ones(1)], [*direction, torch.zeros(1)]
    )
    assert with_more == pytest.approx(once, rel=1e-2)
    assert default_epsilon(scheme, torch.float32, weights + untouched, direction + untouched) < once


@pytest.mark.parametrize("scheme", SCHEMES)
def test_of_a_large_model_it_is_a_fraction_of_the_norm(scheme):
    weights = [0.03 * draw(1100, 1000).float(), draw(7).double()]
    direction = [draw(1100, 1000, seed=1).float(), draw(7, seed=2).double()]
    expected = relative_epsilon(scheme, torch.float32) * float(global_norm(weights))
    assert default_epsilon(scheme, torch.float32, weights, direction) == expected


@pytest.mark.parametrize(("scheme", "room"), [("central", 100.0), ("forward", 16.0)])
def test_few_entries_that_carry_u_do_not_hide_the_others(scheme, room):
    weights, direction = [0.03 * draw(1100, 1000).float()], [draw(1100, 1000, seed=1).float()]
    even = default_epsilon(scheme, torch.float32, weights, direction)
    direction[0][0, 0] = 1e6
    uneven = default_epsilon(scheme, torch.float32, weights, direction)
    length, spread = direction[0].norm(), direction[0].abs().sum() / direction[0].numel() ** 0.5
    assert uneven == pytest.approx(even * float(length / spread) / room, rel=1e-2)
    assert uneven > 3 * even
    flat = default_epsilon(scheme, torch.float32, weights, direction, is_flat=True)
    assert flat == pytest.approx(relative_epsilon(scheme, torch.float32) * float(global_norm(weights)))
