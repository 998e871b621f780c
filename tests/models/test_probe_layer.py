"""The added block of a stock encoder computes the mean of its hidden states."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    DistilBertConfig,
    PretrainedConfig,
    RobertaConfig,
)

from agwm.models.probe_layer import can_pool_uniformly, pool_uniformly
from agwm.testing.tiny_models import FAMILIES, batch, pretrained

STOCK = ("bert", "roberta", "electra")


def distilbert():
    config = DistilBertConfig(
        vocab_size=99,
        dim=16,
        n_layers=3,
        n_heads=2,
        hidden_dim=32,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForSequenceClassification.from_config(config).eval()


def model_of(family):
    return distilbert() if family == "distilbert" else pretrained(family).model


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", [*STOCK, "distilbert"])
def test_the_head_reads_the_normed_mean_and_nothing_else(family, side):
    model = model_of(family)
    inputs = {key: value for key, value in batch(12, side=side).items() if key != "labels"}
    with torch.no_grad():
        states = model.base_model(**inputs).last_hidden_state.double()
        mask = inputs["attention_mask"].unsqueeze(-1)
        assert 0 < int(mask.sum()) < mask.numel()  # some rows are padded
        mean = (states * mask).sum(1) / mask.sum(1)
        expected = torch.nn.functional.layer_norm(mean, mean.shape[-1:])
        layer = pool_uniformly(model)
        read = []
        layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].double()))
        model(**inputs)
    found = read[0].reshape(expected.shape)
    # a monotone map of each entry: undone by its slope and its value at 0
    scale = {"electra": 0.005, "distilbert": 1.0}.get(family, 0.01)
    shift = 32.0 if family == "distilbert" else 0.0
    torch.testing.assert_close((found - shift) / scale, expected, rtol=0.03, atol=0.02)


def test_a_plain_class_loads_it(tmp_path):
    model = pretrained("bert").model
    pool_uniformly(model)
    with torch.no_grad():
        expected = model(**batch()).logits
        model.save_pretrained(tmp_path)
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
        assert type(again) is type(model) and again.config.num_hidden_layers == 4
        assert torch.equal(again.eval()(**batch()).logits, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_bert_and_its_kin_can(family):
    assert can_pool_uniformly(pretrained(family).model) == (family in STOCK)


def test_a_causal_encoder_cannot():
    config: PretrainedConfig = FAMILIES["roberta"]()
    assert isinstance(config, RobertaConfig)
    config.is_decoder = True
    assert not can_pool_uniformly(AutoModelForSequenceClassification.from_config(config))
