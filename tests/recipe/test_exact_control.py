"""agwm that learns nothing is the control that makes no outer pass, to the bit."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import agwm
from agwm.methods.two_level import AsDrawn, Frozen
from tests.recipe.test_recipe import config, run


@pytest.mark.parametrize(
    ("control", "init_std", "more"),
    [
        (Frozen(), 0.0, {"num_resplits": 2}),
        (Frozen(), 0.0, {"unroll_steps": 2, "roll_back": True}),
        (AsDrawn(), 0.2, {"num_resplits": 2}),
    ],
)
def test_the_whole_recipe_is_that_of_the_control(control, init_std, more):
    settings = config(**{"attention_learning_rate": 0.0, "num_resplits": 1} | more)
    settings = dataclasses.replace(settings, mixing=agwm.MixingConfig(init_std=init_std))

    def evaluate(model):
        return {"drawn": float(torch.rand(()))}

    full, other = (run(one, evaluate=evaluate) for one in (settings, control.recipe(settings)))
    assert full.num_steps == other.num_steps
    scores = [[record["drawn"] for record in result.history] for result in (full, other)]
    assert scores[0] == scores[1]
    for name, tensor in other.model.state_dict().items():
        assert torch.equal(tensor, full.model.state_dict()[name]), name
    if isinstance(control, AsDrawn):
        assert all(torch.equal(alpha, full.alpha[name]) for name, alpha in other.alpha.items())
        assert min(float(alpha.min()) for alpha in other.alpha.values()) < 0.9
