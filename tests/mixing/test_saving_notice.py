"""``save_pretrained`` of an injected model writes W, and says so once."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from transformers import Trainer, TrainingArguments

import agwm
from agwm.errors import AgwmWarning
from tests.architectures import text_batch
from tests.mixing.hook_checks import randomize
from tests.tiny_models import tiny_bert


def injected():
    mixup = agwm.inject(tiny_bert(num_labels=3).eval(), seed=0)
    randomize(mixup)
    return mixup


def task_weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def logits(model):
    with torch.no_grad():
        return model(**text_batch()).logits


@pytest.mark.parametrize("path", ["", "bert", "copied"])
def test_user_is_told_once_what_is_written(tmp_path, path):
    mixup = injected()
    model = copy.deepcopy(mixup.model) if path == "copied" else mixup.model
    model = model.bert if path == "bert" else model
    with pytest.warns(AgwmWarning, match=r"save_pretrained writes the task weights W.* Call merge\(\)"):
        model.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)  # a second warning would be an error
    again = type(model).from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(again[name], value) for name, value in task_weights(model).items())


def test_trainer_tells_it_and_its_checkpoints_are_resumed(tmp_path):
    mixup = injected()
    batch = text_batch()
    rows = [{key: value[i] for key, value in batch.items()} for i in range(len(batch["labels"]))]
    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, save_steps=1, report_to=[], disable_tqdm=True, use_cpu=True
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Trainer(mixup.model, arguments, train_dataset=rows).train()
    ours = [each for each in told if each.category is AgwmWarning]
    assert len(ours) == 1 and "merge()" in str(ours[0].message)
    trained, mixed = task_weights(mixup.model), logits(mixup.model.eval())
    mixup.model.load_state_dict(type(mixup.model).from_pretrained(tmp_path / "checkpoint-2").state_dict())
    assert all(torch.equal(value, trained[name]) for name, value in task_weights(mixup.model).items())
    assert torch.equal(logits(mixup.model), mixed)


@pytest.mark.parametrize("take_off", ["merge", "remove"])
def test_plain_model_is_saved_without_a_word(tmp_path, take_off):
    mixup = injected()
    mixup.save_pretrained(tmp_path / "whole")
    model = getattr(mixup, take_off)()
    assert "save_pretrained" not in vars(model) and "save_pretrained" not in vars(model.bert)
    model.save_pretrained(tmp_path / "plain")
    assert torch.equal(logits(type(model).from_pretrained(tmp_path / "plain")), logits(model))
