"""SetFit: pairs of the same and of another class, a tuned encoder, and the probe's head on it."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest
import torch
from transformers import BertForSequenceClassification

from agwm.errors import MethodError, MissingExtraError
from agwm.methods.method import Settings
from agwm.methods.probe import Probe
from agwm.methods.setfit import ContrastivePairs, SetFit
from agwm.models.probe import ProbeForSequenceClassification
from agwm.recipe.config import FinetuneConfig
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import batch, pretrained
from tests.methods.probe_jobs import probe_job


def test_each_example_meets_one_of_its_class_and_one_of_another():
    labels = [0, 0, 1, 1, 1, 2]

    def epochs(seed):
        pairs = ContrastivePairs(list(range(6)), labels, seed)
        return [[(pair["first"], pair["second"], pair["labels"]) for pair in pairs] for _ in range(8)]

    drawn = epochs(1)
    for pairs in drawn:
        assert [pair[0] for pair in pairs] == [place for place in range(6) for _ in range(2)]
        assert [pair[2] for pair in pairs] == 6 * [1.0, 0.0]
        for one, other, target in pairs:
            assert (labels[one] == labels[other]) == bool(target)
            assert one != other or labels[one] == 2  # the only one of its class
    assert len({pair[1] for pairs in drawn for pair in pairs if pair[0] == 2}) == 5  # all but itself
    assert drawn == epochs(1) != epochs(2)


def cosines(model, inputs, labels):
    """Return the mean cosine of examples of one class and that of examples of two."""
    with torch.no_grad():
        states = model.base_model(**inputs).last_hidden_state.mean(1)
    unit = torch.nn.functional.normalize(states, dim=1)
    table, same = unit @ unit.T, labels[:, None] == labels[None]
    return float(table[same].mean()), float(table[~same].mean())


def test_the_encoder_draws_classes_apart():
    job = job_of(pretrained("bert"))
    inputs = batch(12)
    labels = inputs.pop("labels")
    before = cosines(job.loaded.model, inputs, labels)
    encoder = job.loaded.model.base_model
    outcome = SetFit(Settings(epochs=6)).run(job)
    assert type(outcome.model) is BertForSequenceClassification and outcome.model.base_model is encoder
    # without the block that only takes the mean
    plain = pretrained("bert").model
    state = {key: value for key, value in outcome.model.state_dict().items() if ".layer.3." not in key}
    plain.load_state_dict(state)
    after = cosines(plain, inputs, labels)
    assert after[0] - after[1] > before[0] - before[1] + 0.3
    losses = [record["loss"] for record in outcome.history if "loss" in record]
    assert len(losses) == 6 and losses[-1] < losses[0]
    assert outcome.passes == 6 * 2 * 2 * 3 + 1 and set(outcome.seconds) == {"setfit", "setfit head"}


def test_without_steps_it_is_the_probe():
    tuned = SetFit(Settings(epochs=0)).run(job_of(pretrained("deberta"))).model
    plain = Probe().run(job_of(pretrained("deberta"))).model
    assert type(tuned) is type(plain) is ProbeForSequenceClassification
    assert all(torch.equal(tuned.state_dict()[key], value) for key, value in plain.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "got"), [("regression", "scores"), ("multi_label_classification", "label sets")]
)
def test_labels_that_are_no_classes_are_refused(kind, got):
    loaded = pretrained("bert", 1 if kind == "regression" else 2)
    loaded.model.config.problem_type = kind
    with pytest.raises(MethodError, match=f"expected one class for each example, got {got}"):
        SetFit().check(loaded, FinetuneConfig())


def test_pairs_of_texts_and_one_class_are_refused(tiny_model):
    with pytest.raises(MethodError, match="expected single texts, got pairs"):
        SetFit().run(probe_job(tiny_model, is_pair=True)[0])
    job = job_of(pretrained("bert"))
    rows = [{**row, "labels": torch.tensor(1)} for row in job.examples]
    with pytest.raises(MethodError, match="expected examples of two classes or more, got one"):
        SetFit().run(dataclasses.replace(job, examples=rows))


def test_a_missing_library_is_one_line(monkeypatch):
    find = importlib.util.find_spec
    hidden = lambda name, *rest: None if name == "sentence_transformers" else find(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    with pytest.raises(MissingExtraError, match=r"pip install 'agwm\[setfit\]'"):
        SetFit().check(pretrained("bert"), FinetuneConfig())


def test_padded_texts_of_the_real_tokenizer(tiny_model):
    made, _, test, pad = probe_job(tiny_model)
    outcome = SetFit().run(made)
    rows = list(test)
    with torch.no_grad():
        found = outcome.model(**{k: v for k, v in pad(rows).items() if k != "labels"}).logits.argmax(1)
    assert (found == torch.tensor(test["labels"])).float().mean() > 0.8
