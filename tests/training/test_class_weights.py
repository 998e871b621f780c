"""Class weights: the loss and its gradient against sums by hand, where it holds, and that it ends."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import functional_call

import agwm
from agwm.errors import ConfigError, ShapeError
from agwm.methods import METHODS, Lora, Method, RDrop, Vanilla
from agwm.methods.lora import LoraSettings
from agwm.methods.two_level import Agwm
from agwm.recipe.config import FinetuneConfig
from agwm.testing import batch, pretrained
from agwm.testing.jobs import job_of
from agwm.training.class_weights import balanced_weights, class_weighted, weighted_loss
from tests.methods.cells import small_method

WEIGHTS = torch.tensor([0.25, 3.0])


def by_hand(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted loss as a sum over examples, in float64."""
    total, share = torch.zeros((), dtype=torch.float64), 0.0
    for row, label in zip(logits.double(), labels.tolist(), strict=True):
        log_p = row[label] - row.exp().sum().log()
        total, share = total - float(weights[label]) * log_p, share + float(weights[label])
    return total / share


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def test_loss_and_gradient_against_sums_by_hand():
    model, inputs = pretrained("bert").model.double(), batch()
    plain = gradients(model, model(**inputs).loss)
    with class_weighted(model, WEIGHTS):
        output = model(**inputs)
        found = gradients(model, output.loss)
    logits = model(**{key: value for key, value in inputs.items() if key != "labels"}).logits
    expected = by_hand(logits, inputs["labels"], WEIGHTS)
    torch.testing.assert_close(output.loss, expected, rtol=1e-12, atol=0)
    for one, other in zip(found, gradients(model, expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    far = sum(float((one - other).norm()) for one, other in zip(found, plain, strict=True))
    assert far > 0.1


def test_several_labels_an_example_against_sums_by_hand():
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    labels, weights = torch.randint(0, 2, (5, 3)).double(), torch.tensor([1.0, 0.5, 4.0])
    p = logits.sigmoid()
    expected = -(weights.double() * labels * p.log() + (1 - labels) * (1 - p).log()).sum() / 15
    found = weighted_loss(logits, labels, weights)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    one, other = (torch.autograd.grad(loss, logits)[0] for loss in (found, expected))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert one.norm() > 0.01


def test_half_precision_is_summed_in_float32():
    logits = torch.randn(8, 2)
    labels = torch.randint(0, 2, (8,))
    found = weighted_loss(logits.bfloat16(), labels, WEIGHTS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, weighted_loss(logits.bfloat16().float(), labels, WEIGHTS))


def test_wrapped_mixed_copied_and_functional_models_have_it():
    loaded, inputs = pretrained("bert"), batch()
    model = loaded.model
    peft = Lora(LoraSettings()).reparametrize(pretrained("bert"), FinetuneConfig(), 3).eval()
    mixup = agwm.inject(pretrained("bert").model, alpha="full", init_std=0.5, seed=0)
    moved = {name: value + 0.1 for name, value in model.named_parameters()}
    calls = {
        "peft": lambda: peft(**inputs),
        "mixed": lambda: mixup.model(**inputs),
        "copy": lambda: copy.deepcopy(model)(**inputs),
        "functional": lambda: functional_call(model, moved, kwargs=inputs),
    }
    for name, call in calls.items():
        plain = call()
        with class_weighted(model, WEIGHTS):
            output = call()
        assert torch.equal(output.logits, plain.logits), name
        expected = by_hand(output.logits, inputs["labels"], WEIGHTS).float()
        torch.testing.assert_close(output.loss, expected, rtol=1e-5, atol=1e-6)
        assert abs(float((output.loss - plain.loss).detach())) > 1e-3, name


def test_it_ends_also_by_an_error_and_holds_in_one_thread():
    model, inputs, found = pretrained("bert").model, batch(), []
    plain = model(**inputs).loss
    with pytest.raises(ZeroDivisionError), class_weighted(model, WEIGHTS):
        assert not torch.equal(model(**inputs).loss, plain)
        thread = threading.Thread(target=lambda: found.append(model(**inputs).loss))
        thread.start()
        thread.join()
        assert model(input_ids=inputs["input_ids"]).loss is None
        raise ZeroDivisionError
    assert torch.equal(found[0], plain) and torch.equal(model(**inputs).loss, plain)
    with class_weighted(model, None):
        assert torch.equal(model(**inputs).loss, plain)


def weights_after(method: Method, class_weights: torch.Tensor | None) -> dict[str, torch.Tensor]:
    job = replace(job_of(pretrained("bert")), class_weights=class_weights)
    return {name: value.clone() for name, value in method.run(job).model.state_dict().items()}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_feels_them(name):
    plain = weights_after(small_method(name, 1), None)
    found = weights_after(small_method(name, 1), torch.tensor([0.2, 5.0]))
    assert any(not torch.allclose(found[key], plain[key], rtol=0, atol=1e-4) for key in plain)


# The loss of each kind: the model's own, two passes at once, a wrapped model's, features alone, two levels.
@pytest.mark.parametrize("name", ["vanilla", "r_drop", "lora", "probe", "agwm"])
def test_equal_weights_are_as_none(name):
    plain = weights_after(small_method(name, 1), None)
    ones = weights_after(small_method(name, 1), torch.ones(2))
    far = max(float((ones[key] - plain[key]).abs().max()) for key in plain)
    assert far < 1e-3  # rounding, which Adam enlarges where a gradient is nearly 0


@pytest.mark.parametrize("method", [RDrop, Agwm, Lora, Vanilla])
def test_what_a_method_trains_on_is_the_weighted_loss(method):
    """With the weight of a class at 0, its examples might have any labels: nothing of them is learned."""
    weights, job = torch.tensor([0.0, 1.0]), job_of(pretrained("bert"))
    rows = [row for row in job.examples if int(row["labels"]) == 1]
    with class_weighted(job.loaded.model, weights):
        inputs = batch()
        logits = job.loaded.model(**inputs).logits
        only = by_hand(logits, inputs["labels"], weights)
    keep = inputs["labels"] == 1
    torch.testing.assert_close(
        only.float(), torch.nn.functional.cross_entropy(logits[keep], inputs["labels"][keep])
    )
    outcome = method().run(replace(job_of(pretrained("bert"), epochs=6), class_weights=weights))
    answers = outcome.model(**batch()).logits.argmax(1)
    assert len(rows) == 12 and bool((answers == 1).all())


def test_a_regression_and_wrong_weights_are_refused():
    with pytest.raises(ConfigError, match="do not fit a regression: expected classes, got scores"):
        Vanilla().run(replace(job_of(pretrained("bert", 1), num_labels=1), class_weights=torch.ones(1)))
    model = pretrained("bert").model
    for weights, error, message in (
        (torch.ones(3), ShapeError, r"expected shape \(2,\), got \(3,\)"),
        (torch.tensor([1.0, -1.0]), ConfigError, r"none below 0 and one above, got \[1.0, -1.0\]"),
        (torch.tensor([1.0, np.nan]), ConfigError, "expected finite numbers"),
        (torch.zeros(2), ConfigError, "one above"),
    ):
        with pytest.raises(error, match=message), class_weighted(model, weights):
            pass


def test_balanced_weights():
    assert balanced_weights([0, 0, 0, 1], 2).tolist() == pytest.approx([4 / 6, 4 / 2])
    # a class without an example has no part in the balance
    assert balanced_weights([0, 0, 0, 2], 3).tolist() == pytest.approx([4 / 6, 1, 4 / 2])
    many = [[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]]
    assert balanced_weights(many, 3).tolist() == [3.0, 1.0, 1.0]
    for labels, number in (([0.5, 1.0], 2), ([0, 3], 2), ([[1, 0]], 3), ([], 2)):
        with pytest.raises(ShapeError, match="no classes to weigh"):
            balanced_weights(labels, number)
