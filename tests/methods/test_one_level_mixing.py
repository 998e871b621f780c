"""Random and joint alpha against steps written out by hand: the forward, both gradients, the projection."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import agwm
from agwm.errors import ConfigError
from agwm.methods.one_level_mixing import (
    JointAlpha,
    JointAlphaSettings,
    RandomAlpha,
    RandomAlphaSettings,
)
from agwm.recipe.config import FinetuneConfig, MixingConfig
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import pretrained
from tests.methods.by_hand import DECAY, RATE, SEED
from tests.methods.exact import exact, gradients, steps, train_by, weights

STD, ALPHA_RATE = 0.3, 0.05


class HandAdam:
    """Adam's direction of one tensor."""

    def __init__(self):
        self.mean = self.square = 0.0
        self.num_steps = 0

    def __call__(self, slope):
        self.num_steps += 1
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope**2
        first, second = self.mean / (1 - 0.9**self.num_steps), self.square / (1 - 0.999**self.num_steps)
        return first / (second.sqrt() + 1e-8)


def by_hand(num_labels, std, alpha_rate):
    """Return W, the factors of alpha and W0 after ``train_by``'s steps; without a rate alpha is fixed."""
    twin = exact("bert", num_labels).model
    mixup = agwm.inject(twin, init_std=std, seed=SEED)
    factors = {
        name: [
            parameter.detach().double().clone()
            for parameter in (mixup.attention[name].a, mixup.attention[name].b)
        ]
        for name in mixup.names
    }
    mixup.remove()
    start, now, adam = weights(twin), weights(twin), {}
    for rows in steps(num_labels):
        mixed = dict(now)
        for name, (a, b) in factors.items():
            mixed[name] = start[name] + a * b * (now[name] - start[name])
        slopes = gradients(twin, mixed, rows)
        for name, slope in slopes.items():
            if name in factors:
                a, b = factors[name]
                to_alpha = slope * (now[name] - start[name])
                slope = slope * (a * b)
                if alpha_rate is not None:
                    both = (to_alpha * b).sum(1, keepdim=True), (to_alpha * a).sum(0, keepdim=True)
                    for place, own in enumerate(both):
                        step = adam.setdefault((name, place), HandAdam())(own)
                        factors[name][place] = (factors[name][place] - alpha_rate * step).clamp(0, 1)
            if not ("LayerNorm" in name or name.endswith("bias")):
                now[name] = now[name] * (1 - RATE * DECAY)
            now[name] = now[name] - RATE * adam.setdefault(name, HandAdam())(slope)
    return now, factors, start


def compare(method, num_labels, std, alpha_rate):
    """Compare a method with the steps by hand, and return alpha by name."""
    loaded = exact("bert", num_labels)
    model = train_by(method, loaded, num_labels)
    now, factors, start = by_hand(num_labels, std, alpha_rate)
    found = weights(model)
    for name in now:
        if "key.bias" not in name:  # has no gradient but rounding, which Adam blows up
            torch.testing.assert_close(found[name], now[name], rtol=0, atol=1e-7)
    for name, (a, b) in factors.items():
        torch.testing.assert_close(method.mixup.alpha(name).detach().double(), a * b, rtol=0, atol=1e-6)
    method.finish(model)
    for name, (a, b) in factors.items():
        merged = start[name] + a * b * (now[name] - start[name])
        torch.testing.assert_close(model.get_parameter(name).detach(), merged, rtol=0, atol=1e-6)
    return {name: a * b for name, (a, b) in factors.items()}


@pytest.mark.parametrize("num_labels", [2, 1])
def test_random_alpha_by_hand(num_labels):
    alpha = compare(RandomAlpha(RandomAlphaSettings(init_std=STD)), num_labels, STD, None)
    assert min(float(value.min()) for value in alpha.values()) < 0.5  # far from vanilla


@pytest.mark.parametrize("num_labels", [2, 1])
def test_joint_alpha_by_hand(num_labels):
    method = JointAlpha(JointAlphaSettings(attention_learning_rate=ALPHA_RATE))
    alpha = compare(method, num_labels, MixingConfig().init_std, ALPHA_RATE)
    entries = torch.cat([value.flatten() for value in alpha.values()])
    assert 0 <= float(entries.min()) < 0.95 and float(entries.max()) == 1.0  # moved, and projected


def test_alpha_of_the_wrong_learning_rate_is_told_apart():
    with pytest.raises(AssertionError):
        compare(
            JointAlpha(JointAlphaSettings(attention_learning_rate=ALPHA_RATE)), 2, 0.005, 0.9 * ALPHA_RATE
        )
    with pytest.raises(AssertionError):
        compare(RandomAlpha(RandomAlphaSettings(init_std=STD)), 2, 0.9 * STD, None)


def test_random_alpha_stays_and_joint_alpha_moves():
    for method, moves in ((RandomAlpha(), False), (JointAlpha(), True)):
        method.run(job_of(pretrained("bert")))
        before = dict(method.initial.named_parameters())
        after = dict(method.mixup.attention.named_parameters())
        assert after and all(torch.equal(after[name], before[name]) is not moves for name in after)


@pytest.mark.parametrize("method", [RandomAlpha(), JointAlpha()])
def test_alpha_held_at_1_is_refused(method):
    recipe = dataclasses.replace(FinetuneConfig(), mixing=MixingConfig(alpha="frozen"))
    with pytest.raises(
        ConfigError, match=r"would be vanilla finetuning: expected .* got mixing.alpha 'frozen'"
    ):
        method.check(pretrained("bert"), recipe)
