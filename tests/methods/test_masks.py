"""The largest entries of several tensors are found exactly, ties included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from agwm.methods.masks import Masks, count_of, has_finite_gradients, largest


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [0, 1, 500, 1999, 2000])
def test_marks_what_topk_marks(dtype, count):
    generator = torch.Generator().manual_seed(0)
    scores = [torch.rand(shape, generator=generator, dtype=dtype) ** 2 for shape in [(50, 20), (1000,)]]
    together = torch.cat([score.flatten() for score in scores])
    expected = torch.zeros(2000, dtype=torch.bool)
    expected[together.topk(count).indices] = True
    found = torch.cat([mask.flatten() for mask in largest(scores, count)])
    assert torch.equal(found, expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, -0.0, 1e-40, 1.0, 3e38]), min_size=2, max_size=20), st.data())
def test_marks_exactly_so_many_also_of_equal_ones(values, data):
    count = data.draw(st.integers(0, len(values)))
    scores = [torch.tensor(values[:1]), torch.tensor(values[1:])]
    masks = torch.cat(largest(scores, count))
    together = torch.cat(scores)
    assert int(masks.sum()) == count
    if 0 < count < len(values):
        assert together[masks].min() >= together[~masks].max()


def test_scores_stay_and_may_be_views():
    score = torch.arange(12.0).view(3, 4).t()
    before = score.clone()
    (mask,) = largest([score], 3)
    assert torch.equal(score, before)
    assert torch.equal(mask, score > 8)


@pytest.mark.parametrize(
    ("fraction", "num", "count"), [(0.3, 10, 3), (1 - 0.3, 30, 21), (0.5, 3, 2), (1.0, 7, 7), (1e-6, 10, 1)]
)
def test_counts_round_up_but_not_for_the_error_of_floats(fraction, num, count):
    assert count_of(fraction, num) == count


def test_held_entries_stay_bit_for_bit_through_momentum_and_decay():
    weight = nn.Parameter(torch.tensor([1.1, -2.3, 0.7]))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    weight.grad = torch.ones(3)
    optimizer.step()
    before = weight.detach().clone()
    masks = Masks([(weight, torch.tensor([True, False, False]))])
    masks.mask_gradients()
    masks.hold()
    optimizer.step()
    assert (weight != before).all(), "momentum and decay move masked entries"
    masks.put_back()
    assert torch.equal(weight[1:], before[1:]) and weight[0] != before[0]


def test_finds_gradients_that_are_not_finite():
    model = nn.Linear(2, 2)
    model.weight.grad = torch.ones(2, 2)
    assert has_finite_gradients(model)
    for bad in (float("inf"), float("nan")):
        model.weight.grad[0, 1] = bad
        assert not has_finite_gradients(model)
