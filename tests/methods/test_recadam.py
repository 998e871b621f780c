"""RecAdam: its update by hand, its clock, and what it recalls."""

from __future__ import annotations

import math

import pytest
import torch

from agwm.errors import ConfigError
from agwm.methods.recadam import RecAdam, RecAdamOptimizer, RecAdamSettings, task_share
from agwm.recipe.config import FinetuneConfig
from agwm.testing.tiny_models import FAMILIES, pretrained
from agwm.training.config import TrainingConfig
from tests.methods.exact import NUM_STEPS, exact, gradients, steps, train_by, weights

RATE, DECAY, GAMMA = 1e-2, 0.1, 40.0
T0, STEEPNESS = 0.5, 6.0
CONSTANT = (RATE,) * NUM_STEPS
# Linear: two steps of warm-up from 0, then down to 0 after the last one.
LINEAR, RATES = {"schedule": "linear", "warmup_ratio": 0.5}, (0.0, RATE / 2, RATE)


def by_hand(loaded, annealing, gamma, num_labels=2, rates=CONSTANT, t0_ratio=T0):
    """Take the steps of the paper's Algorithm, written out, on dicts of tensors."""
    model = loaded.model
    start = weights(model)
    now, mean, square = dict(start), {}, {}
    t0, k = t0_ratio * NUM_STEPS, STEEPNESS / NUM_STEPS
    for step, (batch, rate) in enumerate(zip(steps(num_labels), rates, strict=True), 1):
        share = 1 / (1 + math.exp(-k * (step - t0))) if annealing == "sigmoid" else min(1.0, step / t0)
        assert 0.01 < share <= 1.0
        for name, slope in gradients(model, now, batch).items():
            is_head = name.startswith("classifier")
            part = 1.0 if is_head else share
            mean[name] = 0.9 * mean.get(name, 0.0) + 0.1 * slope
            square[name] = 0.999 * square.get(name, 0.0) + 0.001 * slope * slope
            size = rate * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            value = now[name] - size * part * mean[name] / (square[name].sqrt() + 1e-8)
            if not is_head:
                value = value - rate * (1 - part) * gamma * (value - start[name])
            elif name == "classifier.weight":
                value = value - rate * DECAY * value
            now[name] = value
    return now


@pytest.mark.parametrize("num_labels", [2, 1])
@pytest.mark.parametrize("annealing", ["sigmoid", "linear"])
def test_three_steps_are_those_of_the_formula(annealing, num_labels):
    settings = RecAdamSettings(strength=GAMMA, annealing=annealing, t0_ratio=T0, steepness=STEEPNESS)
    expected = by_hand(exact("bert", num_labels), annealing, GAMMA, num_labels)
    found = weights(train_by(RecAdam(settings), exact("bert", num_labels), num_labels))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)
    without = by_hand(exact("bert", num_labels), annealing, 0.0, num_labels)
    key = "bert.encoder.layer.0.output.dense.weight"
    assert (expected[key] - without[key]).abs().max() > 1e-4


@pytest.mark.parametrize("annealing", ["sigmoid", "linear"])
def test_step_and_pull_are_by_the_learning_rate_of_the_step(annealing):
    settings = RecAdamSettings(strength=GAMMA, annealing=annealing, t0_ratio=1.0, steepness=STEEPNESS)
    found = weights(train_by(RecAdam(settings), exact("bert"), **LINEAR))
    expected = by_hand(exact("bert"), annealing, GAMMA, rates=RATES, t0_ratio=1.0)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)


def test_with_the_whole_share_it_is_adam():
    loaded = pretrained("bert")
    names = dict(loaded.model.double().named_parameters())
    start = weights(loaded.model)
    optimizer = RecAdamOptimizer(
        names, [], start, learning_rate=RATE, strength=GAMMA, share=lambda step: 1.0
    )
    twin = exact("bert").model
    adam = torch.optim.Adam(twin.parameters(), lr=RATE, eps=1e-12)
    optimizer.param_groups[0]["eps"] = 1e-12  # the bias of v is corrected on different sides of eps
    for batch in steps():
        for name, slope in gradients(exact("bert").model, start, batch).items():
            names[name].grad = slope.clone()
            twin.get_parameter(name).grad = slope.clone()
        optimizer.step()
        adam.step()
    key = "bert.encoder.layer.0.output.dense.weight"
    torch.testing.assert_close(names[key], twin.get_parameter(key), rtol=1e-7, atol=1e-8)
    assert not torch.allclose(names[key], start[key], atol=1e-3)


@pytest.mark.parametrize("annealing", ["sigmoid", "linear"])
def test_the_share_rises_on_the_clock_of_the_run(annealing):
    for num_steps in (57, 468, 13400):
        shares = [task_share(annealing, step / num_steps, 0.25, 20.0) for step in range(1, num_steps + 1)]
        assert shares == sorted(shares) and shares[0] < 0.1 and shares[-1] > 0.999
        middle = shares[round(0.25 * num_steps) - 1]
        assert abs(middle - (0.5 if annealing == "sigmoid" else 1.0)) < 0.05
    assert task_share(annealing, 0.5, 0.0, 1e6) == 1.0
    assert task_share("sigmoid", 1e-4, 1.0, 1e6) == 0.0  # and no overflow


def test_the_method_takes_its_clock_from_the_run():
    method = RecAdam(RecAdamSettings(t0_ratio=0.5))
    method.before_training(pretrained("bert").model, [], 40)
    assert method.share(20) == 0.5
    method.before_training(pretrained("bert").model, [], 400)
    assert method.share(20) < 0.01


def test_a_learning_rate_that_diverges_in_the_official_code_stays_at_the_pretrained_weights():
    weight = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    start = {"w": weight.detach().clone()}
    optimizer = RecAdamOptimizer(
        {"w": weight}, [], start, learning_rate=1e-2, strength=5000.0, share=lambda step: 0.0
    )
    with torch.no_grad():
        weight.add_(1e-3)
    for _ in range(20):
        weight.grad = torch.ones(2)
        optimizer.step()
    assert torch.equal(weight.detach(), start["w"])


def test_the_copies_are_not_in_the_state_and_the_state_can_be_taken_up_again():
    method, loaded = RecAdam(), pretrained("bert")
    method.reparametrize(loaded, FinetuneConfig(), 0)
    optimizer = method.make_optimizer(loaded.model, TrainingConfig())
    batch = {
        key: value.float() if value.is_floating_point() else value for key, value in next(steps()).items()
    }
    loaded.model(**batch).loss.backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert all(set(entry) == {"step", "mean", "square"} for entry in state["state"].values())
    assert not any(torch.is_tensor(value) for group in state["param_groups"] for value in group.values())
    again = method.make_optimizer(loaded.model, TrainingConfig())
    again.load_state_dict(state)
    key = optimizer.param_groups[0]["params"][0]
    assert again.state[key]["step"] == 1
    torch.testing.assert_close(again.state[key]["mean"], optimizer.state[key]["mean"])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_whole_backbone_is_recalled_and_no_head(family):
    loaded, method = pretrained(family), RecAdam()
    method.reparametrize(loaded, FinetuneConfig(), 0)
    optimizer = method.make_optimizer(loaded.model, TrainingConfig(weight_decay=0.3))
    prefix = f"{loaded.model.base_model_prefix}."
    backbone = {name for name, _ in loaded.model.named_parameters() if name.startswith(prefix)}
    assert set(optimizer.param_groups[0]["names"]) == backbone == set(method.pretrained)
    assert any("norm" in name.lower() for name in backbone)
    assert optimizer.param_groups[0]["weight_decay"] == 0.0
    assert [group["names"] for group in optimizer.param_groups[1:]] == [None, None]
    num = sum(len(group["params"]) for group in optimizer.param_groups)
    assert num == len(list(loaded.model.parameters()))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("strength", -1.0),
        ("annealing", "cosine"),
        ("t0_ratio", 1.5),
        ("t0_ratio", 250),
        ("steepness", -2.0),
    ],
)
def test_wrong_settings_are_refused(setting, value):
    with pytest.raises(ConfigError, match=setting):
        RecAdamSettings(**{setting: value})
