"""Dtypes and calls around the model: half precision, autocast, functional calls, compilation."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

import agwm
from tests.architectures import text_batch
from tests.mixing.hook_checks import (
    own_weights,
    plain_twin,
    randomize,
    randomize_alpha,
    randomize_task_weights,
)
from tests.tiny_models import tiny_bert

HALF = [torch.bfloat16, torch.float16]
QUERY = "bert.encoder.layer.0.attention.self.query.weight"


def bert(dtype=torch.float32):
    return tiny_bert(num_labels=3, dtype=dtype).eval()


def logits(model):
    with torch.no_grad():
        return model(**text_batch()).logits


def dtypes(module):
    return {parameter.dtype for parameter in module.parameters()}


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_model_keeps_alpha_in_float32(dtype):
    model = bert(dtype)
    before = logits(model)
    mixup = agwm.inject(model, seed=0)
    randomize_alpha(mixup)
    assert dtypes(model) == {dtype} and dtypes(mixup.attention) == {torch.float32}
    assert torch.equal(logits(model), before)
    randomize_task_weights(mixup)
    assert all(weight.dtype == dtype for weight in mixup.mixed_weights().values())
    model(**text_batch()).loss.backward()
    assert mixup.attention[QUERY].a.grad.dtype == torch.float32
    assert mixup.attention[QUERY].a.grad.norm() > 0
    mixed = logits(model)
    assert torch.equal(logits(mixup.merge()), mixed)


@pytest.mark.parametrize("dtype", [*HALF, torch.float64])
def test_model_is_moved_to_another_dtype_after_injection(dtype):
    model = bert()
    mixup = agwm.inject(model, seed=0)
    randomize_alpha(mixup)
    model.to(dtype)
    assert torch.equal(logits(model), logits(bert(dtype)))
    assert dtypes(mixup.attention) == {torch.float32}
    assert mixup.pretrained[QUERY].dtype == dtype
    randomize_task_weights(mixup)
    model(**text_batch()).loss.backward()
    assert own_weights(model)[QUERY].dtype == dtype


def test_half_after_injection():
    model = bert()
    agwm.inject(model, seed=0)
    assert torch.equal(logits(model.half()), logits(bert().half()))


def test_attention_in_float64_is_used():
    model = bert(torch.float64)
    mixup = agwm.inject(model, seed=0)
    mixup.attention.double()
    randomize(mixup)
    own = mixup.attention[QUERY]
    assert own.a.dtype == torch.float64
    exact = own.a * own.b
    expected = exact * own_weights(model)[QUERY] + (1 - exact) * mixup.pretrained[QUERY]
    mixed = mixup.mixed_weights()[QUERY]
    torch.testing.assert_close(mixed, expected, rtol=1e-14, atol=1e-15)
    mixed.sum().backward()
    assert own.a.grad.dtype == torch.float64


def test_attention_in_float64_on_a_float32_model():
    model = bert()
    mixup = agwm.inject(model, seed=0)
    mixup.attention.double()
    before = logits(model)
    randomize_alpha(mixup)
    assert torch.equal(logits(model), before)
    assert before.dtype == torch.float32


@pytest.mark.parametrize("is_cached", [True, False])
def test_autocast(is_cached):
    plain = bert()
    mixup = agwm.inject(bert(), seed=0)
    randomize(mixup)
    twin = plain_twin(mixup, plain)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=is_cached):
        ours, theirs = mixup.model(**text_batch()), twin(**text_batch())
        ours.loss.backward()
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=2e-2, atol=2e-2)
    assert mixup.attention[QUERY].a.grad.dtype == torch.float32
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, cache_enabled=is_cached):
        first = mixup.model(**text_batch()).logits
        randomize_alpha(mixup, seed=5)
        assert not torch.equal(mixup.model(**text_batch()).logits, first)


def test_inference_mode():
    mixup = agwm.inject(bert(), seed=0)
    randomize(mixup)
    with torch.inference_mode():
        inside = mixup.model(**text_batch()).logits
        with mixup.cached():
            assert torch.equal(mixup.model(**text_batch()).logits, inside)
    assert torch.equal(logits(mixup.model), inside)
    mixup.model(**text_batch()).loss.backward()


def test_functional_call_mixes_the_weights_it_is_given():
    mixup = agwm.inject(bert(), seed=0)
    randomize_alpha(mixup)
    model = mixup.model
    own = {name: value.clone() for name, value in model.state_dict().items()}
    others = {name: parameter + 0.1 for name, parameter in model.named_parameters()}
    given = functional_call(model, others, kwargs=text_batch()).logits
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
    model.load_state_dict(others)
    torch.testing.assert_close(logits(model), given.detach())
    given.sum().backward()
    assert mixup.attention[QUERY].a.grad.norm() > 0


def test_kernel_is_the_plain_one_without_gradient():
    """matmul asks requires_grad even under no_grad; a transposed input shows the difference."""
    linear = torch.nn.Linear(16, 16)
    x = torch.randn(3, 12, 16, generator=torch.Generator().manual_seed(0)).transpose(0, 1)
    with torch.no_grad():
        before = linear(x)
        mixup = agwm.inject(linear)
        assert torch.equal(linear(x), before)
        assert linear.weight.requires_grad
        assert not mixup.mixed_weights()["weight"].requires_grad


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_model():
    mixup = agwm.inject(bert(), seed=0)
    randomize(mixup)
    eager = mixup.model(**text_batch())
    eager.loss.backward()
    expected = mixup.attention[QUERY].a.grad.clone()
    mixup.attention.zero_grad()
    compiled = torch.compile(mixup.model, backend="aot_eager")
    output = compiled(**text_batch())
    torch.testing.assert_close(output.logits, eager.logits)
    output.loss.backward()
    torch.testing.assert_close(mixup.attention[QUERY].a.grad, expected)
    randomize_alpha(mixup, seed=5)
    torch.testing.assert_close(compiled(**text_batch()).logits, mixup.model(**text_batch()).logits)
    assert not torch.equal(compiled(**text_batch()).logits, output.logits)
