"""peft's methods on families beyond those of the matrix, whose settings or maps peft has to be told."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForSequenceClassification, DistilBertConfig, GPT2Config

from agwm.methods.lora import Lora, LoraSettings
from agwm.methods.prompt_tuning import PromptTuning, PromptTuningSettings
from agwm.models.families import backbone_linears, head_names
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.testing.jobs import job_of

SHARED = {"vocab_size": 99, "num_labels": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
GPT2 = GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=64, **SHARED)
DISTILBERT = DistilBertConfig(dim=16, n_layers=2, n_heads=2, hidden_dim=32, **SHARED)


def loaded(config):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    return Pretrained(model, None, tuple(head_names(model)))


def test_lora_adapts_the_maps_of_gpt2_and_leaves_a_plain_model():
    given = loaded(GPT2)
    before = {name: value.clone() for name, value in given.model.state_dict().items()}
    method = Lora(LoraSettings(rank=2, epochs=1, learning_rate=1e-2))
    method.check(given, FinetuneConfig())
    after = method.run(job_of(given)).model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert after.keys() == before.keys()
    assert moved == {"score.weight", *(f"transformer.h.{k}.attn.c_attn.weight" for k in range(2))}
    change = after["transformer.h.0.attn.c_attn.weight"] - before["transformer.h.0.attn.c_attn.weight"]
    assert change.shape == (16, 48) and int(torch.linalg.matrix_rank(change)) == 2
    assert len(backbone_linears(loaded(GPT2).model)) == 8


@pytest.mark.parametrize("config", [GPT2, DISTILBERT], ids=["gpt2", "distilbert"])
def test_prompt_tuning_trains_prompt_and_head(config):
    given = loaded(config)
    method = PromptTuning(PromptTuningSettings(num_virtual_tokens=3, epochs=1))
    method.check(given, FinetuneConfig())
    before = {name: value.clone() for name, value in given.model.state_dict().items()}
    model = method.run(job_of(given)).model
    after = model.get_base_model().state_dict()
    assert all(
        torch.equal(after[name], before[name])
        for name in before
        if name not in head_names(loaded(config).model)
    )
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert any("prompt" in name for name in trained) and any("modules_to_save" in name for name in trained)
