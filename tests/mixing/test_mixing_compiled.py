"""The compiled mixing function gives what the plain one gives."""

from __future__ import annotations

import shutil

import pytest
import torch

import agwm
from agwm.errors import ConfigError
from agwm.mixing.alpha import alpha_class
from agwm.mixing.functions import mix_weights
from tests.architectures import text_batch
from tests.mixing.hook_checks import randomize
from tests.tiny_models import tiny_bert

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # inductor's own
    pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler"),
]
MATRIX, STACK = ((24, 40), 0), ((3, 8, 16), 1)
CASES = [
    ("convex", "rank1", MATRIX, torch.float32),
    ("convex", "rank1", MATRIX, torch.bfloat16),
    ("convex", "rank1", STACK, torch.float32),
    ("convex", "full", MATRIX, torch.float32),
    ("convex", "scalar", MATRIX, torch.float32),
    ("factored", "rank1", MATRIX, torch.float32),
]
CUDA = pytest.param("cuda", marks=pytest.mark.gpu)


def inputs(form, shape, num_batch_dims, dtype, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    generator = torch.Generator().manual_seed(0)
    alpha = alpha_class(form)(torch.Size(shape), num_batch_dims, generator=generator)
    task, pretrained, upstream = (
        torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3)
    )
    factors = [
        torch.rand(factor.shape, generator=generator).to(device).requires_grad_()
        for factor in alpha.factors()
    ]
    return task.requires_grad_(), pretrained, factors, upstream


def compiled(*arguments):
    from agwm.mixing.compiled import mix_weights_compiled

    return mix_weights_compiled(*arguments)


@pytest.fixture(autouse=True)
def empty_cache():
    torch._dynamo.reset()  # it keeps 8 variants of a function; a program has one or two of ours


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(("which", "form", "stack", "dtype"), CASES)
def test_values_and_gradients_are_those_of_the_plain_function(which, form, stack, dtype, device):
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-2, "atol": 1e-2}
    task, pretrained, factors, upstream = inputs(form, *stack, dtype, device)
    for wanted in ([task], factors, [task, *factors]):
        for tensor in (task, *factors):
            tensor.requires_grad_(any(tensor is each for each in wanted))
        results = []
        for mix in (mix_weights, compiled):
            mixed = mix(task, pretrained, factors, which)
            results.append((mixed.detach(), *torch.autograd.grad(mixed, wanted, upstream)))
        for ours, theirs in zip(*results, strict=True):
            assert ours.dtype == theirs.dtype
            torch.testing.assert_close(ours, theirs, **tolerance)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_identities_hold_bit_for_bit(dtype, device):
    task, pretrained, factors, _ = inputs("rank1", (24, 40), 0, dtype, device)
    assert torch.equal(compiled(task, task.detach().clone(), factors), task)
    ones = [torch.ones_like(factor) for factor in factors]
    assert torch.equal(compiled(task, pretrained, ones), task)


def test_second_derivatives_are_those_of_the_plain_function():
    task, pretrained, factors, upstream = inputs("rank1", (24, 40), 0, torch.float32, "cpu")
    results = []
    for mix in (mix_weights, compiled):
        mixed = mix(task, pretrained, factors).square()
        (first,) = torch.autograd.grad(mixed, task, upstream, create_graph=True)
        results.append(torch.autograd.grad(first.square().sum(), factors))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_model_with_compiled_mixing(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    results = []
    for is_compiled in (False, True):
        mixup = agwm.inject(tiny_bert(dropout=0.0, num_labels=3), seed=0)
        randomize(mixup)
        mixup.model.to(device)
        mixup.attention.to(device)
        if is_compiled:
            mixup.compile()
        loss = mixup.model(**{k: v.to(device) for k, v in text_batch().items()}).loss
        loss.backward()
        found = {
            n: p.grad for n, p in [*mixup.model.named_parameters(), *mixup.attention.named_parameters()]
        }
        results.append((loss.detach(), found))
        assert type(mixup.mixed_weights()[mixup.names[0]].grad_fn).__name__.startswith(
            "ConvexCompiled" if is_compiled else "ConvexBackward"
        )
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


def test_unknown_formula_and_no_factor():
    task, pretrained, factors, _ = inputs("rank1", (24, 40), 0, torch.float32, "cpu")
    assert compiled(task, pretrained, []) is task
    with pytest.raises(ConfigError, match="formula is unknown"):
        compiled(task, pretrained, factors, "linear")
