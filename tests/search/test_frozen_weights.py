"""A search in which alpha can have no effect is refused: all mixed weights are frozen."""

from __future__ import annotations

import pytest
import torch
from transformers import default_data_collator

import agwm
from agwm.errors import AgwmWarning, ModelError
from tests.tiny_models import tiny_bert
from tests.trainer_runs import rows

CONFIG = agwm.FinetuneConfig(search=agwm.SearchConfig(epochs=1), final=agwm.TrainingConfig(epochs=1))


def finetune(model, **mixing):
    config = agwm.FinetuneConfig(
        mixing=agwm.MixingConfig(**mixing), search=CONFIG.search, final=CONFIG.final
    )
    return agwm.finetune(model, rows(), collate=default_data_collator, config=config, progress=False)


def adapted():
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], r=2)
    return peft.get_peft_model(tiny_bert(num_layers=1), config)


def test_layers_below_adapters_are_refused_and_the_model_is_left_alone():
    model = adapted()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with (
        pytest.warns(AgwmWarning, match="Weights to mix are frozen"),
        pytest.raises(
            ModelError, match="Alpha has no effect: expected mixed weights that are trained, got 7"
        ),
    ):
        finetune(model)
    assert agwm.mixup_of(model) is None
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_factors_of_lora_can_be_mixed_by_name():
    model = adapted()
    result = finetune(model, include=["lora_B"])
    assert len(result.alpha) == 2 and all("lora_B" in name for name in result.alpha)
    moved = [not torch.equal(alpha, result.initial_alpha[name]) for name, alpha in result.alpha.items()]
    assert all(moved)


def test_some_frozen_weights_are_told_and_the_rest_is_searched():
    model = tiny_bert()
    for parameter in model.bert.encoder.layer[0].parameters():
        parameter.requires_grad_(False)
    with pytest.warns(AgwmWarning, match="got 6 of 13 with requires_grad=False"):
        result = finetune(model)
    assert len(result.alpha) == 13
    whole = finetune(tiny_bert(), exclude=["*.layer.0.*"])
    assert len(whole.alpha) == 7


def test_frozen_alpha_needs_no_trained_weight():
    model = tiny_bert()
    for parameter in model.bert.parameters():
        parameter.requires_grad_(False)
    with pytest.warns(AgwmWarning, match="Weights to mix are frozen"):
        finetune(model, alpha="frozen")
