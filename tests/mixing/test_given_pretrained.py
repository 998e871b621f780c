"""``inject`` takes W0 of a model that is finetuned already."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import agwm
from agwm.errors import ModelError, ShapeError
from agwm.mixing.hook import hooked_places
from agwm.testing import batch, pretrained


def moved(dtype=torch.float32):
    start, model = pretrained("bert").model.to(dtype), pretrained("bert").model.to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1
    return start, model


def test_mixed_weights_lie_between_given_weights_and_those_of_the_model():
    start, model = moved()
    weights = dict(start.named_parameters())
    mixup = agwm.inject(model, alpha="scalar", init_std=0.0, pretrained=weights)
    for alpha in mixup.attention.parameters():
        alpha.data.fill_(0.25)
    for name, mixed in mixup.mixed_weights().items():
        task = mixup.candidates[name].task_weights
        torch.testing.assert_close(mixed, 0.25 * task + 0.75 * weights[name])
        assert torch.equal(mixup.pretrained[name], weights[name])
        assert mixup.pretrained[name].data_ptr() != weights[name].data_ptr()


def test_given_weights_are_those_that_a_copy_would_be():
    start, model = pretrained("bert").model, pretrained("bert").model
    agwm.inject(start, seed=1)
    agwm.inject(model, seed=1, pretrained=pretrained("bert").model.state_dict())
    assert torch.equal(start(**batch()).logits, model(**batch()).logits)


def test_at_alpha_zero_the_model_is_the_pretrained_one_but_for_what_is_not_mixed():
    start, model = moved()
    mixup = agwm.inject(model, pretrained=start.state_dict())
    for factor in mixup.attention.parameters():
        factor.data.zero_()
    mixup.merge()
    for name in mixup.names:
        assert torch.equal(model.state_dict()[name], start.state_dict()[name])


def test_given_weights_take_the_dtype_of_the_model():
    start, _ = moved()
    _, model = moved(torch.bfloat16)
    mixup = agwm.inject(model, pretrained=start.state_dict())
    assert {weight.dtype for weight in mixup.pretrained.values()} == {torch.bfloat16}


def test_a_tie_is_found_by_any_of_its_names():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    mixup = agwm.inject(model, include="*", pretrained={"1.weight": torch.zeros(3, 3)})
    assert not mixup.pretrained["0.weight"].any()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            lambda weights: weights.pop("bert.pooler.dense.weight"),
            ModelError,
            "expected 'bert.pooler.dense",
        ),
        (
            lambda weights: weights.update({"bert.pooler.dense.weight": torch.zeros(2, 2)}),
            ShapeError,
            r"expected pretrained weights of \(\d+, \d+\), got \(2, 2\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_the_model_stays_plain(change, error, words):
    start, model = moved()
    weights = dict(start.state_dict())
    change(weights)
    with pytest.raises(error, match=words):
        agwm.inject(model, pretrained=weights)
    assert next(hooked_places(model), None) is None and agwm.mixup_of(model) is None
