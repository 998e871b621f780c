"""Every method with several labels an example: it learns each label, or refuses them before it trains."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agwm.errors import MethodError, MissingExtraError
from agwm.methods import METHODS, R3F, Job, RDrop
from agwm.methods.divergence import bernoulli_kl, divergence_of, symmetric_kl
from agwm.models.families import is_multi_label, is_regression
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.testing import pretrained
from agwm.testing.jobs import job_of, side_of
from agwm.testing.tiny_models import examples
from agwm.training.class_weights import balanced_weights
from tests.methods.cells import small_method

FEW_WEIGHTS = ("prompt_tuning", "prefix_tuning")  # they learn little of a model with random weights


def loaded_for(family: str, num_labels: int = 3) -> Pretrained:
    loaded = pretrained(family, num_labels)
    loaded.model.config.problem_type = "multi_label_classification"
    return loaded


def labelled(family: str, num_labels: int = 3) -> list[dict[str, torch.Tensor]]:
    """Return examples whose labels are told by one token: the first, or the two others; one has none."""
    rows = examples(side=side_of(family))
    for row in rows:
        kind = float(row["labels"])
        row["labels"] = torch.tensor([kind, *([1 - kind] * (num_labels - 1))])
    return rows


def job_for(family: str, num_labels: int = 3, epochs: int = 1) -> Job:
    job = job_of(loaded_for(family, num_labels), epochs=epochs, side=side_of(family))
    return replace(job, examples=labelled(family, num_labels))


def losses(model: torch.nn.Module, family: str, num_labels: int = 3) -> torch.Tensor:
    inputs = torch.utils.data.default_collate(labelled(family, num_labels))
    with torch.no_grad():
        logits = model(**inputs).logits
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits, inputs["labels"], reduction="none"
    ).mean(0)


@pytest.mark.parametrize("name", METHODS)
def test_each_label_is_learned(name):
    job = job_for("bert", epochs=6)
    method = small_method(name)
    try:
        method.check(job.loaded, FinetuneConfig())
    except MissingExtraError as error:
        pytest.skip(str(error))
    except MethodError as error:
        assert f"Method {name!r}" in str(error) and "expected one class for each example" in str(error)
        assert name == "setfit"  # its pairs are of one class or of two
        return
    before = losses(job.loaded.model, "bert")
    outcome = method.run(job)
    after = losses(outcome.model, "bert")
    assert after.mean() < before.mean()
    assert name in FEW_WEIGHTS or bool((after < before).all()), (before, after)
    assert outcome.passes == small_method(name).passes(job.training, job.recipe, len(job.examples), False)


# The loss is the family's, the rest is the method's: every family is tried each time, and a wrapped and a
# mixed model of the two that differ most.
@pytest.mark.parametrize(
    ("name", "family"),
    [
        pytest.param(name, family, marks=marks)
        for name in ("vanilla", "lora", "agwm")
        for family in ("roberta", "deberta", "xlnet", "bart", "llama")
        for marks in [() if name == "vanilla" or family in ("bart", "llama") else pytest.mark.slow]
    ],
)
def test_in_other_families(name, family):
    job = job_for(family, epochs=4)
    before = losses(job.loaded.model, family)
    outcome = small_method(name, 4).run(job)
    assert float(losses(outcome.model, family).mean()) < float(before.mean())


@pytest.mark.parametrize("name", ["vanilla", "r3f", "r_drop", "lora", "agwm"])
def test_one_label_is_no_regression(name):
    job = job_for("bert", num_labels=1, epochs=6)
    assert is_multi_label(job.loaded.model) and not is_regression(job.loaded.model)
    before = losses(job.loaded.model, "bert", 1)
    outcome = small_method(name).run(job)
    assert float(losses(outcome.model, "bert", 1)) < float(before)


@pytest.mark.parametrize("name", ["vanilla", "r_drop", "lora", "agwm"])
def test_rare_labels_are_weighed(name):
    job = job_for("bert")
    labels = torch.stack([row["labels"] for row in job.examples]).numpy()
    weights = balanced_weights(labels, 3) * torch.tensor([30.0, 1.0, 1.0])
    plain = small_method(name, 1).run(job_for("bert")).model
    found = small_method(name, 1).run(replace(job, class_weights=weights)).model
    inputs = torch.utils.data.default_collate(labelled("bert"))
    with torch.no_grad():
        moved = found(**inputs).logits - plain(**inputs).logits
    assert float(moved[:, 0].mean()) > 0.01


def test_divergence_of_labels_against_its_definition():
    first, second = (torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    p, q = first.sigmoid(), second.sigmoid()
    there = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    back = q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
    expected = (there + back).sum(1).mean()
    found = bernoulli_kl(first, second)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    one = torch.autograd.grad(found, (first, second), retain_graph=True)
    other = torch.autograd.grad(expected, (first, second))
    for mine, true in zip(one, other, strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-9, atol=1e-12)
        assert mine.norm() > 0.01
    torch.testing.assert_close(bernoulli_kl(first, second, "sum"), 5 * found)
    assert bernoulli_kl(first.half(), second.half()).dtype == torch.float32
    extreme = torch.tensor([[100.0, -100.0]], requires_grad=True)
    assert bool(torch.isfinite(bernoulli_kl(extreme, -extreme)))
    assert divergence_of(loaded_for("bert").model) is bernoulli_kl
    assert divergence_of(pretrained("bert").model) is symmetric_kl


@pytest.mark.parametrize("method", [RDrop, R3F])
def test_second_pass_is_compared_label_by_label(method):
    """Without dropout both passes of R-Drop are one; R3F's differ by noise that is made large."""
    model = loaded_for("bert").model
    inputs = torch.utils.data.default_collate(labelled("bert")[:8])
    made = method()
    if method is R3F:
        made = R3F(replace(made.settings, noise_scale=0.5))
    torch.manual_seed(0)
    model.train(method is RDrop)
    found = made.loss(model, inputs)
    torch.manual_seed(0)
    if method is RDrop:
        output = model(**{key: torch.cat([value, value]) for key, value in inputs.items()})
        first, second = output.logits.double().sigmoid().chunk(2)
        factor = 0.5
    else:
        output = model(**inputs)
        first = output.logits.double().sigmoid()
        with torch.no_grad():
            words = model.get_input_embeddings()(inputs["input_ids"])
        words = words + torch.empty_like(words).uniform_(-0.5, 0.5)
        rest = {key: value for key, value in inputs.items() if key not in ("labels", "input_ids")}
        second = model(inputs_embeds=words, **rest).logits.double().sigmoid()
        factor = 1.0
    kl = first * (first / second).log() + (1 - first) * ((1 - first) / (1 - second)).log()
    kl = kl + second * (second / first).log() + (1 - second) * ((1 - second) / (1 - first)).log()
    expected = output.loss + factor * kl.sum(1).mean()
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-6)
    assert float(kl.detach().sum(1).mean()) > 1e-3
