"""The hook on every architecture of transformers' sequence-classification mapping."""

from __future__ import annotations

import copy

import pytest
import torch

import agwm
from tests.architectures import ARCHITECTURES
from tests.mixing.hook_checks import (
    formula,
    gradients,
    leftovers,
    own_weights,
    plain_twin,
    randomize,
    randomize_alpha,
)

each = pytest.mark.parametrize("name", ARCHITECTURES)
# reversible layers: backward only in training mode
TRAINED_IN_TRAINING_MODE = ("reformer",)


def ready(name, model):
    """Put a model in a mode that has a backward pass and no random masks."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    if name in TRAINED_IN_TRAINING_MODE:
        for module in model.modules():
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0
        return model.train()
    return model.eval()


@each
@torch.no_grad()
def test_pretrained_weights_give_the_plain_output_bit_for_bit(name):
    architecture = ARCHITECTURES[name]
    model, batch = architecture.build().eval(), architecture.batch()
    before = model(**batch)
    objects, keys = list(model.named_parameters()), list(model.state_dict())
    classes = [type(module) for module in model.modules()]

    mixup = agwm.inject(model, seed=0)
    randomize_alpha(mixup)
    during = model(**batch)

    assert mixup.model is model and type(model) is classes[0]
    after_inject = list(model.named_parameters())
    assert [n for n, _ in after_inject] == [n for n, _ in objects]
    assert all(new is old for (_, new), (_, old) in zip(after_inject, objects, strict=True))
    assert list(model.state_dict()) == keys
    assert all(isinstance(m, c) for m, c in zip(model.modules(), classes, strict=True))
    assert torch.equal(during.logits, before.logits)
    assert torch.equal(during.loss, before.loss)

    assert mixup.remove() is model
    after = model(**batch)
    assert torch.equal(after.logits, before.logits)
    assert [type(module) for module in model.modules()] == classes
    assert leftovers(model) == []


# The formula is the same for every weight: with the second one a few kinds of models are tried each time.
KINDS = ("bert", "gpt2", "mixtral", "t5", "zamba")


@pytest.mark.parametrize(
    ("which", "name"),
    [
        pytest.param(which, name, marks=() if which == "convex" or name in KINDS else pytest.mark.slow)
        for which in ("convex", "factored")
        for name in ARCHITECTURES
    ],
)
def test_output_and_gradients_are_those_of_the_formula(which, name):
    architecture = ARCHITECTURES[name]
    is_double = architecture.float64
    dtype = torch.float64 if is_double else torch.float32
    tolerance = {"rtol": 1e-9, "atol": 1e-11} if is_double else {"rtol": 1e-3, "atol": 1e-5}
    plain, batch = ready(name, architecture.build().to(dtype)), architecture.batch()
    model = copy.deepcopy(plain)
    mixup = agwm.inject(model, formula=which, seed=0)
    mixup.attention.to(dtype)
    randomize(mixup)
    twin = plain_twin(mixup, plain)

    ours, theirs = model(**batch), twin(**batch)
    torch.testing.assert_close(ours.logits, theirs.logits, **tolerance)
    torch.testing.assert_close(ours.loss, theirs.loss, **tolerance)
    assert not torch.equal(theirs.logits, plain(**batch).logits)

    ours.loss.backward()
    theirs.loss.backward()
    got, reference, task = gradients(model), gradients(twin), own_weights(model)
    num_nonzero = 0
    for weight, gradient in reference.items():
        if weight not in mixup.names:
            torch.testing.assert_close(got[weight], gradient, **tolerance)
            continue
        num_nonzero += bool(gradient.norm() > 0)
        alpha = mixup.attention[weight]
        a, b = (factor.detach().requires_grad_() for factor in (alpha.a, alpha.b))
        leaf = task[weight].detach().requires_grad_()
        mixed = formula(leaf, mixup.pretrained[weight], a, b, which)
        expected = torch.autograd.grad(mixed, (leaf, a, b), gradient)
        torch.testing.assert_close(got[weight], expected[0], **tolerance)
        for factor, want in zip((alpha.a, alpha.b), expected[1:], strict=True):
            grad = torch.zeros_like(factor) if factor.grad is None else factor.grad
            torch.testing.assert_close(grad, want, **tolerance)
    assert num_nonzero >= len(mixup.names) / 4, "too few weights reach the loss to test anything"


@each
@torch.no_grad()
def test_merged_model_is_saved_and_loaded_without_agwm(name, tmp_path):
    architecture = ARCHITECTURES[name]
    model, batch = architecture.build().eval(), architecture.batch()
    classes = [type(module) for module in model.modules()]
    mixup = agwm.inject(model, seed=0)
    randomize(mixup)
    mixed = model(**batch).logits

    assert mixup.merge() is model
    assert leftovers(model) == []
    assert [type(module) for module in model.modules()] == classes
    assert torch.equal(model(**batch).logits, mixed)

    model.save_pretrained(tmp_path)
    implementation = model.config._experts_implementation
    extra = {"experts_implementation": implementation} if implementation else {}
    loaded = type(model).from_pretrained(tmp_path, **extra)
    assert torch.equal(loaded(**batch).logits, mixed)
