"""Weight decay towards the pretrained weights: its two updates by hand, and what is pulled."""

from __future__ import annotations

import math

import pytest
import torch

from agwm.errors import ConfigError
from agwm.methods.prior_decay import PriorDecay, PriorDecaySettings
from agwm.methods.pull import pull_
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.testing.tiny_models import FAMILIES, pretrained
from agwm.training.config import TrainingConfig
from tests.methods.exact import NUM_STEPS, exact, gradients, steps, train_by, weights

RATE, DECAY = 1e-2, 0.1
CONSTANT = (RATE,) * NUM_STEPS
# Linear: a step of warm-up from 0, then down to 0 after the last one.
LINEAR, RATES = {"schedule": "linear", "warmup_ratio": 0.3}, (0.0, RATE, RATE / 2)


def is_pulled(name):
    """Tell BERT's weights that are pulled by their names alone."""
    return not (name.startswith("classifier") or "LayerNorm" in name or name.endswith("bias"))


def by_hand(loaded, form, strength, num_labels=2, clipping=0.0, rates=CONSTANT):
    """Take AdamW's steps with the pull, written out, on dicts of tensors."""
    model = loaded.model
    start = weights(model)
    now, mean, square = dict(start), {}, {}
    for step, (batch, rate) in enumerate(zip(steps(num_labels), rates, strict=True), 1):
        slopes = gradients(model, now, batch)
        if form == "coupled":
            for name in filter(is_pulled, slopes):
                slopes[name] = slopes[name] + strength * (now[name] - start[name])
        if clipping:
            norm = torch.sqrt(sum(slope.square().sum() for slope in slopes.values()))
            slopes = {name: slope * min(1.0, clipping / (norm + 1e-6)) for name, slope in slopes.items()}
        for name, slope in slopes.items():
            value = now[name]
            if is_pulled(name) and form == "decoupled":
                value = value - rate * strength * (value - start[name])
            if name == "classifier.weight":
                value = value - rate * DECAY * value
            mean[name] = 0.9 * mean.get(name, 0.0) + 0.1 * slope
            square[name] = 0.999 * square.get(name, 0.0) + 0.001 * slope**2
            first = mean[name] / (1 - 0.9**step)
            second = square[name] / (1 - 0.999**step)
            now[name] = value - rate * first / (second.sqrt() + 1e-8)
    assert step == NUM_STEPS
    return now


@pytest.mark.parametrize("num_labels", [2, 1])
@pytest.mark.parametrize(("form", "clipping"), [("decoupled", 0.0), ("coupled", 0.0), ("coupled", 0.5)])
def test_three_steps_are_those_of_the_formula(form, clipping, num_labels):
    strength = 30.0 if form == "decoupled" else 2.0
    expected = by_hand(exact("bert", num_labels), form, strength, num_labels, clipping)
    method = PriorDecay(PriorDecaySettings(form=form, strength=strength))
    found = weights(train_by(method, exact("bert", num_labels), num_labels, clipping=clipping))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)
    without = by_hand(exact("bert", num_labels), form, 0.0, num_labels, clipping)
    key = "bert.encoder.layer.0.output.dense.weight"
    assert (expected[key] - without[key]).abs().max() > 1e-3


@pytest.mark.parametrize("form", ["decoupled", "coupled"])
def test_the_pull_is_by_the_learning_rate_of_the_step(form):
    strength = 30.0 if form == "decoupled" else 2.0
    method = PriorDecay(PriorDecaySettings(form=form, strength=strength))
    found = weights(train_by(method, exact("bert"), **LINEAR))
    expected = by_hand(exact("bert"), form, strength, rates=RATES)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)


def test_the_forms_differ():
    found = [
        weights(train_by(PriorDecay(PriorDecaySettings(form=form, strength=2.0)), exact("bert")))
        for form in ("decoupled", "coupled")
    ]
    key = "bert.encoder.layer.0.output.dense.weight"
    assert not torch.allclose(found[0][key], found[1][key], atol=1e-4)


def test_a_pull_that_is_too_strong_ends_at_the_pretrained_weights():
    weight, start = torch.full((3,), 7.0), torch.tensor([1.0, -2.0, 0.5])
    pull_(weight, start, 5.0)
    assert torch.equal(weight, start)
    weight = torch.full((3,), 7.0, dtype=torch.float64)
    pull_(weight, start.double(), 0.25)
    torch.testing.assert_close(weight, 7.0 - 0.25 * (7.0 - start.double()))


@pytest.mark.parametrize("family", FAMILIES)
def test_head_biases_and_norms_are_not_pulled(family):
    loaded = pretrained(family)
    method = PriorDecay()
    method.reparametrize(loaded, FinetuneConfig(), 0)
    optimizer = method.make_optimizer(loaded.model, TrainingConfig(weight_decay=0.3))
    assert method.pulled and not set(method.pulled) & set(loaded.fresh)
    assert not [name for name in method.pulled if name.endswith("bias") or "norm" in name.lower()]
    names = {id(parameter): name for name, parameter in loaded.model.named_parameters()}
    groups = [{names[id(parameter)] for parameter in group["params"]} for group in optimizer.param_groups]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.3, 0.0]
    assert groups[0] == set(method.pulled) and groups[1] <= set(loaded.fresh) and groups[1]
    assert sorted(name for group in groups for name in group) == sorted(names.values())


def test_what_the_checkpoint_did_not_hold_is_not_pulled():
    loaded = pretrained("bert")
    loaded = Pretrained(loaded.model, None, (*loaded.fresh, "bert.pooler.dense.weight"))
    method = PriorDecay()
    method.reparametrize(loaded, FinetuneConfig(), 0)
    assert "bert.pooler.dense.weight" not in method.pretrained
    assert "bert.encoder.layer.2.output.dense.weight" in method.pretrained


def test_a_head_that_the_checkpoint_held_is_not_pulled_either():
    loaded = pretrained("bert")
    method = PriorDecay()
    method.reparametrize(Pretrained(loaded.model, None, ()), FinetuneConfig(), 0)
    assert method.pretrained and not set(method.pretrained) & {"classifier.weight", "classifier.bias"}


def test_default_strengths_belong_to_the_forms():
    assert PriorDecay().strength == 100.0
    assert PriorDecay(PriorDecaySettings(form="coupled")).strength == 0.1
    assert PriorDecay(PriorDecaySettings(strength=0.0)).strength == 0.0


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="form is unknown: expected one of decoupled, coupled"):
        PriorDecaySettings(form="both")
    with pytest.raises(ConfigError, match="strength is out of range"):
        PriorDecaySettings(strength=-1.0)


@pytest.mark.parametrize("factor", [1.0, math.inf, math.nan])
def test_a_step_that_is_skipped_does_not_pull(factor):
    """Fp16's scaler skips the step of Adam after an overflow; the pull is a part of that step."""
    loaded = exact("bert")
    method = PriorDecay(PriorDecaySettings(strength=30.0))
    model = method.reparametrize(loaded, FinetuneConfig(), 0)
    optimizer = method.make_optimizer(model, TrainingConfig(learning_rate=RATE))
    with torch.no_grad():
        for weight in method.pulled.values():
            weight.add_(0.1)
    before = weights(model)
    (method.loss(model, next(iter(steps()))) * factor).backward()
    method.edit_gradients(model)
    method.before_step(optimizer)
    after = weights(model)
    assert {name for name in before if not torch.equal(before[name], after[name])} == (
        set(method.pulled) if factor == 1.0 else set()
    )
