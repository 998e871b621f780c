"""Best response: rows without gradient are skipped, which changes no bit of the others."""

from __future__ import annotations

import pytest
import torch

from agwm.hypergradient import best_response
from agwm.hypergradient.best_response import response_vector
from agwm.hypergradient.inner_step import inner_step

ROWS = {"none": [], "few": [3, 7, 40], "most": list(range(40)), "all": list(range(64))}


def response(rows, first_column, optimizer_class, max_norm, **settings):
    """Return u and v for one embedding of which some rows have gradient."""
    generator = torch.Generator().manual_seed(0)

    def draw():
        return torch.randn(64, 5, generator=generator)

    weight, vector = torch.nn.Parameter(draw()), draw()
    optimizer = optimizer_class([weight], lr=1e-3, **settings)
    for _ in range(2):
        before = weight.detach().clone()
        weight.grad = torch.zeros(64, 5)
        weight.grad[rows] = draw()[rows]
        if not first_column:
            weight.grad[:, 0] = 0.0
        total = float(torch.nn.utils.clip_grad_norm_([weight], max_norm or float("inf")))
        step = inner_step(optimizer, [weight], [before], total, max_norm)
        optimizer.step()
        step.take_states(optimizer, [weight])
    return response_vector("optimizer", [vector.clone()], step)[0], vector


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("first_column", [True, False])
@pytest.mark.parametrize("max_norm", [0.0, 0.5])
@pytest.mark.parametrize(
    ("optimizer_class", "settings"),
    [
        (torch.optim.AdamW, {}),
        (torch.optim.Adam, {"weight_decay": 0.1}),
        (torch.optim.AdamW, {"maximize": True}),
    ],
)
def test_rows_without_gradient_are_skipped(
    rows, first_column, max_norm, optimizer_class, settings, monkeypatch
):
    arguments = (ROWS[rows], first_column, optimizer_class, max_norm)
    ours, vector = response(*arguments, **settings)
    found = []
    own = best_response._few_rows
    monkeypatch.setattr(best_response, "_few_rows", lambda gradient: found.append(own(gradient)))
    whole, _ = response(*arguments, **settings)
    assert torch.equal(ours, whole)
    assert (found[-1] is not None) == (rows in ("none", "few"))
    rest = [row for row in range(64) if row not in ROWS[rows]]
    assert not ours[rest].any()
    assert ours[ROWS[rows]].any() == bool(ROWS[rows])
    assert not torch.equal(ours, vector)


def test_a_gradient_that_is_not_finite_is_not_skipped():
    gradient = torch.zeros(8, 3)
    gradient[5, 1] = float("nan")
    assert best_response._few_rows(gradient).tolist() == [5]
