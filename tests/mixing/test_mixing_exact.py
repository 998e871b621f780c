"""Identities of the mixing function that hold bit for bit, and those that hold up to rounding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agwm.checks import options
from agwm.errors import ConfigError, ShapeError
from agwm.mixing.functions import Formula, check_factors, mix_weights
from tests.mixing.hook_checks import formula

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SHAPES = ((4, 3), (2, 4, 3), (5, 2, 3), (1, 1))
seeds = st.integers(0, 2**32 - 1)


def tensors(shape, dtype, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    task, pretrained = (
        (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype) for _ in range(2)
    )
    a = torch.rand(*shape[:-1], 1, generator=generator)
    b = torch.rand(*([1] * (len(shape) - 1)), shape[-1], generator=generator)
    return task, pretrained, a, b


@given(
    shape=st.sampled_from(SHAPES),
    dtype=st.sampled_from(DTYPES),
    seed=seeds,
    scale=st.sampled_from([1e-6, 1.0, 1e3]),
)
def test_equal_weights_stay_as_they_are_whatever_alpha(shape, dtype, seed, scale):
    task, _, a, b = tensors(shape, dtype, seed, scale)
    mixed = mix_weights(task, task.clone(), (a, b))
    assert mixed.dtype == dtype
    assert torch.equal(mixed, task)


@given(shape=st.sampled_from(SHAPES), dtype=st.sampled_from(DTYPES), seed=seeds)
def test_alpha_one_gives_the_task_weights(shape, dtype, seed):
    task, pretrained, a, b = tensors(shape, dtype, seed)
    ones = (torch.ones_like(a), torch.ones_like(b))
    assert torch.equal(mix_weights(task, pretrained, ones), task)
    assert torch.equal(mix_weights(task, pretrained, ones, "factored"), task)


@given(shape=st.sampled_from(SHAPES), dtype=st.sampled_from(DTYPES), seed=seeds)
def test_alpha_zero_gives_the_pretrained_weights(shape, dtype, seed):
    task, pretrained, a, b = tensors(shape, dtype, seed)
    zeros = (torch.zeros_like(a), torch.zeros_like(b))
    assert torch.equal(mix_weights(task, pretrained, zeros), pretrained)
    assert torch.equal(mix_weights(task, pretrained, zeros, "factored"), pretrained)


@given(shape=st.sampled_from(SHAPES), seed=seeds, which=st.sampled_from(options(Formula)))
def test_value_is_that_of_the_literal_formula(shape, seed, which):
    task, pretrained, a, b = tensors(shape, torch.float64, seed)
    mixed = mix_weights(task, pretrained, (a.double(), b.double()), which)
    expected = formula(task, pretrained, a.double(), b.double(), which)
    torch.testing.assert_close(mixed, expected, rtol=1e-12, atol=1e-12)


@given(shape=st.sampled_from(SHAPES), seed=seeds)
def test_convex_mixture_lies_between_the_two(shape, seed):
    task, pretrained, a, b = tensors(shape, torch.float64, seed)
    mixed = mix_weights(task, pretrained, (a, b))
    assert (mixed >= torch.minimum(task, pretrained) - 1e-12).all()
    assert (mixed <= torch.maximum(task, pretrained) + 1e-12).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_are_mixed_in_float32(dtype):
    task, pretrained, a, b = tensors((64, 64), dtype, seed=0)
    mixed = mix_weights(task, pretrained, (a, b))
    exact = formula(task.double(), pretrained.double(), a.double(), b.double(), "convex")
    wrong = mix_weights(task, pretrained, (a.to(dtype), b.to(dtype))) != exact.to(dtype)
    assert mixed.dtype == dtype
    assert (mixed != exact.to(dtype)).float().mean() < 0.01
    assert wrong.float().mean() > 0.1, "the check would not see factors rounded to half"


def test_a_wrong_reference_is_found():
    task, pretrained, a, b = tensors((4, 3), torch.float64, seed=0)
    swapped = formula(pretrained, task, a, b, "convex")
    with pytest.raises(AssertionError):
        torch.testing.assert_close(mix_weights(task, pretrained, (a, b)), swapped)
    other = formula(task, pretrained, a, b, "factored")
    with pytest.raises(AssertionError):
        torch.testing.assert_close(mix_weights(task, pretrained, (a, b)), other)


def test_no_factor_returns_the_task_weights_themselves():
    task = torch.randn(2, 2)
    assert mix_weights(task, torch.zeros(2, 2), []) is task


def test_unknown_formula_is_refused():
    task, pretrained, a, b = tensors((4, 3), torch.float32, seed=0)
    with pytest.raises(ConfigError, match="expected one of convex, factored, got 'linear'"):
        mix_weights(task, pretrained, (a, b), "linear")


@pytest.mark.parametrize("shape", [(4,), (3, 1), (1, 4), (1, 4, 1), (2, 4, 3)])
def test_factor_that_does_not_fit_is_refused(shape):
    with pytest.raises(ShapeError, match="wrong shape for 'layer.weight'"):
        check_factors("layer.weight", torch.Size([4, 3]), [torch.ones(shape)])
