"""The probe as a method: pairs and single texts, classes, scores and label sets, and what it saves."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    pipeline,
)

from agwm.errors import DataError, DivergenceError, MethodError
from agwm.evaluation.predictions import evaluate, model_logits
from agwm.methods.probe import Probe, ProbeSettings
from agwm.models.probe import ProbeForSequenceClassification
from agwm.recipe.config import FinetuneConfig
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import pretrained
from tests.methods.probe_jobs import probe_job, rows_of


@pytest.mark.parametrize("is_regression", [False, True])
@pytest.mark.parametrize("is_pair", [False, True])
def test_it_learns_in_one_look(tiny_model, is_pair, is_regression):
    made, task, test, pad = probe_job(tiny_model, is_pair, is_regression)
    outcome = Probe().run(made)
    assert type(outcome.model) is (
        ProbeForSequenceClassification if is_pair else BertForSequenceClassification
    )
    assert evaluate(outcome.model, task, list(test), test["labels"], pad) > 0.7
    assert outcome.passes == 4 / 3 and outcome.history[0]["strength"] > 0


@pytest.mark.parametrize("is_pair", [False, True])
def test_the_saved_folder_predicts_the_same_in_a_pipeline(tiny_model, is_pair, tmp_path):
    made, _, test, pad = probe_job(tiny_model, is_pair)
    outcome = Probe().run(made)
    outcome.save(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")
    assert ("needs no agwm" in card) == is_pair and ("trust_remote_code=True" in card) == is_pair
    assert ("transformers loads it without agwm" in card) != is_pair
    assert (tmp_path / "saved" / "probe.py").exists() == is_pair
    rows = rows_of(is_pair, 40, 1)
    texts = [
        {"text": row["sentence1"], **({"text_pair": row["sentence2"]} if is_pair else {})} for row in rows
    ]
    classify = pipeline("text-classification", model=str(tmp_path / "saved"), top_k=None)
    found = [{one["label"]: one["score"] for one in scores} for scores in classify(texts)]
    expected = model_logits(outcome.model, list(test), pad).softmax(1)
    answers = torch.tensor([[row["no"], row["yes"]] for row in found])
    torch.testing.assert_close(answers, expected, rtol=1e-4, atol=1e-5)
    assert len(set(answers.argmax(1).tolist())) == 2


def test_a_stock_model_answers_as_the_mean_pooled_one(tiny_model):
    made, _, test, pad = probe_job(tiny_model)
    stock = model_logits(Probe().run(made).model, list(test), pad).softmax(1)
    made, _, _, _ = probe_job(tiny_model)
    own = Probe(ProbeSettings(is_stock=False)).run(made).model
    assert type(own) is ProbeForSequenceClassification
    torch.testing.assert_close(model_logits(own, list(test), pad).softmax(1), stock, rtol=0, atol=0.1)


def test_label_sets(tiny_model):
    made, _, test, pad = probe_job(tiny_model)
    made.loaded.model.config.problem_type = "multi_label_classification"
    rows = [{**row, "labels": [float(row["labels"]), 1.0 - row["labels"]]} for row in made.examples]
    model = Probe().run(dataclasses.replace(made, examples=rows)).model
    found = model_logits(model, list(test), pad).sigmoid()
    labels = torch.tensor(test["labels"])
    assert ((found > 0.5) == torch.stack([labels, 1 - labels], dim=1)).float().mean() > 0.7


def test_pairs_and_single_texts_together_are_refused(tiny_model):
    made, _, _, _ = probe_job(tiny_model, is_pair=True)
    alone, _, _, _ = probe_job(tiny_model)
    rows = [*list(made.examples)[:3], alone.examples[0]]
    with pytest.raises(DataError, match="expected all of one kind, got one of the other kind in example 4"):
        Probe().run(dataclasses.replace(made, examples=rows))


def test_a_broken_encoder_ends_the_run():
    loaded = pretrained("bert")
    with torch.no_grad():
        next(loaded.model.base_model.parameters())[50:].fill_(float("nan"))
    with pytest.raises(DivergenceError, match="Hidden states are not finite"):
        Probe().run(job_of(loaded))


def test_an_encoder_of_its_own_code_is_refused():
    loaded = pretrained("bert")
    loaded.model.base_model.__class__ = type("Own", (type(loaded.model.base_model),), {"__module__": "own"})
    with pytest.raises(MethodError, match="expected an encoder of transformers, got Own"):
        Probe().check(loaded, FinetuneConfig())


def test_no_random_number_is_drawn(tiny_model):
    made, _, _, _ = probe_job(tiny_model)
    before = torch.get_rng_state()
    first = Probe().run(made).model.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    again, _, _, _ = probe_job(tiny_model, seed=4)
    second = Probe().run(again).model.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_tokenizer_is_saved_with_it(tiny_model, tmp_path):
    made, _, _, _ = probe_job(tiny_model)
    Probe().run(made).save(tmp_path / "saved")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert model.config.id2label == {0: "no", 1: "yes"}
    assert model(**tokenizer("the cat is good", return_tensors="pt")).logits.shape == (1, 2)
