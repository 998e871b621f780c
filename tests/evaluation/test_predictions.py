"""Scores of a model: order, mode, and what is not finite."""

from __future__ import annotations

import pytest
import torch

import agwm
from agwm.data import TASKS, DynamicPadding, Task, get_task
from agwm.errors import DataError, DivergenceError, ShapeError
from agwm.evaluation.predictions import constant_score, evaluate, model_logits, predictions_from_logits
from agwm.models.pretrained import load_pretrained

TEXTS = ["the man", "a big bad dog saw the small good cat and the woman", "cat", "the dog was not bad"]
TASK = Task("order", ("sentence1",), ("no", "yes"))


@pytest.fixture
def parts(tiny_model):
    """Model, encoded examples of very different lengths, collate function."""
    loaded = load_pretrained(str(tiny_model), TASK.label_names, seed=3)
    examples = [{**loaded.tokenizer(text), "labels": index % 2} for index, text in enumerate(TEXTS)]
    return loaded.model, examples, DynamicPadding(loaded.tokenizer)


def test_logits_are_in_the_order_of_the_examples(parts):
    model, examples, collate = parts
    alone = torch.cat([model(**collate([example])).logits for example in examples]).detach()
    assert alone.std(dim=0).min() > 0
    for batch_size in (1, 3, 64):
        found = model_logits(model, examples, collate, batch_size)
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-6)


def test_the_mode_is_put_back_and_dropout_is_off(parts):
    model, examples, collate = parts
    model.train()
    state = torch.get_rng_state()
    first, second = (model_logits(model, examples, collate) for _ in range(2))
    assert torch.equal(first, second) and model.training
    assert torch.equal(state, torch.get_rng_state())
    assert not first.requires_grad


def test_a_mixed_model_is_scored_by_its_mixed_weights(parts):
    model, examples, collate = parts
    before = model_logits(model, examples, collate)
    mixup = agwm.inject(model, alpha="full", init_std=0.5, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3)
    mixed = model_logits(model, examples, collate)
    mixup.merge()
    torch.testing.assert_close(model_logits(model, examples, collate), mixed, rtol=1e-4, atol=1e-5)
    assert (mixed - before).norm() > 0.01


def test_score_is_that_of_the_predictions(parts):
    model, examples, collate = parts
    answers = model_logits(model, examples, collate).argmax(dim=-1).tolist()
    assert evaluate(model, TASK, examples, answers, collate) == 1.0
    assert evaluate(model, TASK, examples, [1 - a for a in answers], collate) == 0.0


def test_f1_is_that_of_the_positive_class(parts):
    model, examples, collate = parts
    answers = model_logits(model, examples, collate).argmax(dim=-1).tolist()
    labels = [answers[0], *(1 - answer for answer in answers[1:])]
    for positive, name in enumerate(TASK.label_names):
        task = Task("mine", ("sentence1",), TASK.label_names, "f1", positive=name)
        hits = int(answers[0] == positive)
        expected = 2 * hits / (answers.count(positive) + labels.count(positive))
        assert evaluate(model, task, examples, labels, collate) == pytest.approx(expected)
        share = [1, 1, 1, 0].count(positive) / 4
        assert constant_score(task, [1, 1, 1, 0]) == pytest.approx(2 * share / (1 + share))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite(parts, value):
    model, examples, collate = parts
    with torch.no_grad():
        model.classifier.bias.fill_(value)
    with pytest.raises(DivergenceError, match="Training diverged: lower the learning rate"):
        evaluate(model, TASK, examples, [0, 1, 0, 1], collate)
    assert not model.training


def test_best_constant_answer():
    labels = [1, 1, 1, 0]
    assert constant_score(TASK, labels) == 0.75
    assert constant_score(get_task("mrpc"), labels) == pytest.approx(2 * 3 / (2 * 3 + 1))
    assert constant_score(get_task("cola"), labels) == 0.0
    assert constant_score(get_task("stsb"), [0.5, 2.0, 3.0]) == 0.0


def test_predictions_from_logits():
    logits = torch.tensor([[0.1, 0.9], [2.0, -1.0]])
    assert torch.equal(predictions_from_logits(logits, TASKS["rte"]), torch.tensor([1, 0]))
    scores = torch.tensor([[1.5], [0.5]], dtype=torch.bfloat16)
    expected = torch.tensor([1.5, 0.5])
    torch.testing.assert_close(predictions_from_logits(scores, TASKS["stsb"]), expected)
    torch.testing.assert_close(predictions_from_logits(expected, TASKS["stsb"]), expected)


def test_logits_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"expected \(examples, 3\), got \(4, 2\).*num_labels=3"):
        predictions_from_logits(torch.zeros(4, 2), TASKS["mnli"])
    with pytest.raises(ShapeError, match="do not fit task 'stsb'"):
        predictions_from_logits(torch.zeros(4, 2), TASKS["stsb"])
    with pytest.raises(DataError, match="NaN for 1 of 2 examples"):
        predictions_from_logits(torch.tensor([[float("nan"), 1.0], [0.0, 1.0]]), TASKS["rte"])
