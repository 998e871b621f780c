"""A forward pass reads W0 and alpha and leaves them as they were, wherever and however it runs."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call

import agwm
from tests.architectures import text_batch
from tests.mixing.hook_checks import randomize
from tests.tiny_models import tiny_bert

QUERY = "bert.encoder.layer.0.attention.self.query.weight"


def injected(**options):
    mixup = agwm.inject(tiny_bert(num_labels=3).eval(), seed=0, **options)
    return mixup, {name: tensor.clone() for name, tensor in mixup.pretrained.items()}


def logits(model):
    with torch.no_grad():
        return model(**text_batch()).logits


def assert_same(mixup, kept):
    assert all(torch.equal(mixup.pretrained[name], tensor) for name, tensor in kept.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_pass_in_another_dtype(dtype):
    mixup, kept = injected()
    model, before = mixup.model, logits(mixup.model)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = logits(model.to(dtype))
    assert torch.equal(logits(model), first)  # the converted W0 of the first pass is used again
    assert mixup.pretrained[QUERY].dtype == dtype
    model.float().load_state_dict(state)
    assert_same(mixup, kept)
    assert torch.equal(logits(model), before)


def test_pass_with_weights_of_another_dtype():
    mixup, kept = injected()
    half = {name: parameter.bfloat16() for name, parameter in mixup.model.named_parameters()}
    with torch.no_grad():
        functional_call(mixup.model, half, kwargs=text_batch())
    assert_same(mixup, kept)


def test_pass_on_the_meta_device():
    layer = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    mixup = agwm.inject(layer, seed=0)
    randomize(mixup)
    kept = {name: tensor.clone() for name, tensor in mixup.pretrained.items()}
    alpha, before = mixup.alpha("0.weight").detach().clone(), layer(torch.ones(1, 3))
    meta = {name: parameter.to("meta") for name, parameter in layer.named_parameters()}
    assert functional_call(layer, meta, torch.ones(1, 3, device="meta")).is_meta
    assert_same(mixup, kept)
    assert torch.equal(mixup.alpha("0.weight"), alpha)
    assert torch.equal(layer(torch.ones(1, 3)), before)


def test_offloaded_model():
    accelerate = pytest.importorskip("accelerate")
    mixup, kept = injected()
    randomize(mixup)
    before = logits(mixup.model)
    accelerate.cpu_offload(mixup.model, execution_device="cpu")
    assert next(mixup.model.parameters()).is_meta
    for _ in range(2):
        assert torch.equal(logits(mixup.model), before)
    assert all(torch.equal(mixup.pretrained[name], tensor) for name, tensor in kept.items())
    with pytest.raises(agwm.AgwmError, match="Cannot merge: expected weights with values"):
        mixup.merge()


def train(model):
    model(**text_batch()).loss.backward()
    assert any(p.grad is not None and p.grad.norm() > 0 for p in model.parameters())


def test_first_pass_in_inference_mode():
    mixup, _ = injected()
    mixup.model.double()
    with torch.inference_mode():
        mixup.model(**text_batch())
    train(mixup.model)


def test_injected_in_inference_mode():
    model = tiny_bert(num_labels=3)
    with torch.inference_mode():
        mixup = agwm.inject(model)
    train(model)
    assert all(parameter.grad is not None for parameter in mixup.attention.parameters())


def test_loaded_in_inference_mode(tmp_path):
    injected()[0].save_pretrained(tmp_path)
    model = tiny_bert(num_labels=3)
    with torch.inference_mode():
        mixup = agwm.load(tmp_path, model=model)
    train(mixup.model)


def test_cache_of_inference_mode_ends_with_it():
    mixup, _ = injected()
    randomize(mixup)
    before = logits(mixup.model)
    with mixup.cached():
        with torch.inference_mode():
            mixup.model(**text_batch())
        assert torch.equal(logits(mixup.model), before)
        train(mixup.model)


@pytest.mark.parametrize("owner", ["model", "attention"])
def test_cache_sees_what_changes(owner):
    mixup, _ = injected()
    randomize(mixup)
    with mixup.cached():
        before = logits(mixup.model)
        with torch.no_grad():
            for parameter in getattr(mixup, owner).parameters():
                parameter.mul_(0.5)
        inside = logits(mixup.model)
    assert torch.equal(logits(mixup.model), inside) and not torch.equal(inside, before)


def test_cache_in_a_cache_leaves_the_outer_one_on():
    mixup, _ = injected()
    with mixup.cached(), torch.no_grad():
        with mixup.cached():
            first = mixup.mixed_weights()[QUERY]
        assert mixup.mixed_weights()[QUERY] is first


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_autocast_keeps_nothing_of_a_pass(mode):
    """Autocast keeps the casts of leaves that require gradient until it is left."""
    statistics = Path("/proc/self/statm")
    if not statistics.exists():
        pytest.skip("needs the memory statistics of Linux")

    def megabytes():
        return int(statistics.read_text().split()[1]) * resource.getpagesize() / 2**20

    linear = nn.Linear(1024, 1024, bias=False)  # a cast of it takes 2 MiB
    agwm.inject(linear)
    x = torch.ones(1, 1024)
    with mode(), torch.autocast("cpu", torch.bfloat16):
        for number in range(60):
            assert linear(x).dtype == torch.bfloat16
            if number == 9:
                start = megabytes()
        assert megabytes() - start < 30


def test_model_of_the_cpu_is_injected_under_another_default_device():
    model = tiny_bert(num_labels=3).eval()
    before = logits(model)
    with torch.device("meta"):
        for form in ("rank1", "full", "frozen"):
            mixup = agwm.inject(model, alpha=form)
            assert {parameter.device.type for parameter in mixup.attention.parameters()} == {"cpu"}
            mixup.remove()
        agwm.inject(model)
    assert torch.equal(logits(model), before)
