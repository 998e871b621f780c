"""LoRA follows its formula, trains every head, and leaves a plain model."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace

import pytest
import torch

from agwm.errors import ConfigError, MethodError, MissingExtraError
from agwm.methods.adapters import fresh_modules, peft_library
from agwm.methods.lora import Lora, LoraSettings
from agwm.models.families import head_names
from agwm.recipe.config import FinetuneConfig
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import FAMILIES, pretrained
from agwm.training.config import TrainingConfig
from tests.methods.exact import double, still

RECIPE = FinetuneConfig()
TARGET = "bert.encoder.layer.1.attention.self.query"


def adapted(model, name=TARGET):
    layer = model.get_submodule(f"base_model.model.{name}")
    return layer.lora_A["default"].weight, layer.lora_B["default"].weight


def test_one_step_by_hand():
    """B is 0 at the start: dL/dB = s G A^T and dL/dA = 0, of the gradient G of the plain weight."""
    loaded = still()
    plain, inputs = copy.deepcopy(loaded.model), double()
    plain(**inputs).loss.backward()
    gradient = plain.get_submodule(TARGET).weight.grad
    method = Lora(LoraSettings(rank=2, scale=6.0, dropout=0.0))
    model = method.reparametrize(loaded, RECIPE, seed=3).double()
    optimizer = method.make_optimizer(model, TrainingConfig(learning_rate=1e-2, weight_decay=0.0))
    a, b = adapted(model)
    start = a.detach().clone()
    assert start.shape == (2, 16) and not b.any()
    loss = method.loss(model, inputs)
    torch.testing.assert_close(loss, plain(**inputs).loss)  # no change yet
    loss.backward()
    torch.testing.assert_close(b.grad, 3.0 * gradient @ start.T)
    expected = -1e-2 * b.grad / (b.grad.abs() + 1e-8)
    optimizer.step()
    torch.testing.assert_close(b.detach(), expected)
    assert torch.equal(a, start)
    merged = plain.get_submodule(TARGET).weight + 3.0 * b @ start
    torch.testing.assert_close(method.finish(model).get_submodule(TARGET).weight, merged)


def test_settings_reach_every_adapted_map():
    settings = LoraSettings(rank=4, scale=6.0, dropout=0.35)
    model = Lora(settings).reparametrize(pretrained("bert"), RECIPE, seed=3)
    layers = [module for module in model.modules() if hasattr(module, "lora_A")]
    assert len(layers) == 2 * 3  # queries and values
    for layer in layers:
        assert layer.r == {"default": 4} and layer.scaling == {"default": 6.0 / 4}
        assert isinstance(layer.lora_dropout["default"], torch.nn.Dropout)
        assert layer.lora_dropout["default"].p == 0.35
        assert layer.lora_A["default"].weight.shape == (4, 16)
        assert layer.lora_B["default"].weight.shape == (16, 4)


def test_only_head_and_low_rank_maps_change():
    loaded = pretrained("bert")
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    settings = LoraSettings(rank=2, learning_rate=1e-2, epochs=2)
    outcome = Lora(settings).run(job_of(loaded))
    after = outcome.model.state_dict()
    assert after.keys() == before.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    layers = [f"bert.encoder.layer.{index}.attention.self" for index in range(3)]
    low_rank = {f"{layer}.{part}.weight" for layer in layers for part in ("query", "value")}
    assert moved == low_rank | set(head_names(outcome.model))
    for name in low_rank:
        change = (after[name] - before[name]).double()
        assert torch.linalg.matrix_rank(change, rtol=1e-4) == 2, name
    assert all(parameter.requires_grad for parameter in outcome.model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_is_trained_from_the_start_it_was_given(family):
    loaded = pretrained(family)
    head = {name: loaded.model.get_parameter(name).clone() for name in head_names(loaded.model)}
    model = Lora().reparametrize(loaded, RECIPE, seed=3)
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    for name, value in head.items():
        plain = {key: key.replace("modules_to_save.default.", "") for key in trained}
        copies = [key for key in trained if plain[key].endswith(f".{name}")]
        assert len(copies) == 1 and torch.equal(trained[copies[0]], value)
    assert any(".lora_A." in name for name in trained)


def test_modules_that_hold_only_fresh_weights():
    found = {family: fresh_modules(pretrained(family)) for family in FAMILIES}
    assert found["bert"] == found["roberta"] == found["electra"] == ["classifier"]
    assert found["deberta"] == found["deberta-v2"] == ["classifier", "pooler"]
    assert found["xlnet"] == ["logits_proj", "sequence_summary"]
    assert found["bart"] == ["classification_head"] and found["llama"] == ["score"]


def test_a_pooler_that_the_checkpoint_lacks_is_trained():
    loaded = pretrained("bert")
    names = tuple(f"bert.pooler.dense.{part}" for part in ("weight", "bias"))
    loaded = replace(loaded, fresh=(*loaded.fresh, *names))
    assert fresh_modules(loaded) == ["bert.pooler", "classifier"]
    before = loaded.model.bert.pooler.dense.weight.clone()
    model = Lora(LoraSettings(epochs=1)).run(job_of(loaded)).model
    assert not torch.equal(model.bert.pooler.dense.weight, before)


def test_a_head_that_would_stay_frozen_is_an_error():
    loaded = replace(pretrained("bert"), fresh=("bert.embeddings.word_embeddings.weight",))
    method = Lora()
    method.adapter_config = lambda given: peft_library("lora").LoraConfig(
        task_type="SEQ_CLS", target_modules=["query"]
    )
    with pytest.raises(MethodError, match="got frozen: 'bert.embeddings"):
        method.reparametrize(loaded, RECIPE, seed=3)


def test_settings_of_one_run_do_not_reach_the_next():
    method, loaded = Lora(), pretrained("deberta")
    first = method.adapter_config(loaded)
    method.reparametrize(loaded, RECIPE, seed=3)
    assert method.adapter_config(pretrained("deberta")).modules_to_save == first.modules_to_save


@pytest.mark.parametrize(
    ("family", "targets", "text"),
    [("bert", ["nothing"], "none named 'nothing'"), ("bert", [], "rivals.lora.target_modules")],
)
def test_targets_that_are_not_there_are_refused(family, targets, text):
    with pytest.raises(MethodError, match=text):
        Lora(LoraSettings(target_modules=targets)).check(pretrained(family), RECIPE)


def test_without_peft_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError) as error:
        Lora().check(pretrained("bert"), RECIPE)
    assert "agwm[peft]" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"dropout": 1.5}, {"scale": -1.0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError):
        LoraSettings(**wrong)
