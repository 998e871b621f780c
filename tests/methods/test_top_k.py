"""Top-K: which parameters train in each family, and that the others do not move."""

from __future__ import annotations

import pytest
import torch
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

from agwm.errors import ConfigError, MethodError
from agwm.methods.top_k import TopK, TopKSettings, trained_names
from agwm.models.families import head_names
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.testing.tiny_models import FAMILIES, pretrained
from agwm.training.config import TrainingConfig
from agwm.training.hooks import make_optimizer
from tests.methods.exact import exact, train_by, weights

# What trains for K = 1, as beginnings of names.
ONE = {
    "bert": ("bert.encoder.layer.2.", "bert.pooler.", "classifier."),
    "roberta": ("roberta.encoder.layer.2.", "classifier."),
    "electra": ("electra.encoder.layer.2.", "classifier."),
    "deberta": ("deberta.encoder.layer.2.", "pooler.", "classifier."),
    "deberta-v2": ("deberta.encoder.layer.2.", "pooler.", "classifier."),
    "xlnet": ("transformer.layer.2.", "sequence_summary.", "logits_proj."),
    "bart": ("model.decoder.layers.1.", "classification_head."),
    "llama": ("model.layers.2.", "model.norm.", "score."),
}


def method(num_blocks, **settings):
    return TopK(TopKSettings(num_blocks=num_blocks, **settings))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_rest_is_frozen_bit_for_bit_and_what_trains_moves(family):
    loaded = exact(family)
    before = weights(loaded.model)
    after = weights(train_by(method(1), loaded))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    expected = {name for name in before if name.startswith(ONE[family])}
    # XLNet's segment weights take no gradient where there are no segments, but decay moves what trains
    still = {name for name in expected if torch.equal(before[name], after[name])}
    assert moved <= expected and expected - still == moved
    assert all("seg_embed" in name or "r_s_bias" in name for name in still), still


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_parameters_are_not_in_the_optimizer(family):
    loaded = pretrained(family)
    chosen = method(1)
    chosen.initialize(loaded, 0)
    optimizer = make_optimizer(loaded.model, TrainingConfig())
    inside = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    names = {name for name, parameter in loaded.model.named_parameters() if id(parameter) in inside}
    assert names == {name for name, _ in loaded.model.named_parameters() if name.startswith(ONE[family])}
    assert len(chosen.frozen) + len(names) == len(list(loaded.model.parameters()))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_blocks_leaves_pooler_and_head_and_all_blocks_leave_the_embeddings(family):
    loaded = pretrained(family)
    names = trained_names(loaded, 0)
    assert set(head_names(loaded.model)) <= names
    assert not [name for name in names if "layer." in name or "layers." in name]
    every = trained_names(loaded, 4 if family == "bart" else 3)
    left = {name for name, _ in loaded.model.named_parameters()} - every
    assert left and all("emb" in name or "shared" in name for name in left)


def test_no_blocks_leaves_the_norm_behind_the_last_one():
    assert trained_names(pretrained("llama"), 0) == {"model.norm.weight", "score.weight"}


def test_bart_counts_from_the_decoders_top_into_the_encoder():
    loaded = pretrained("bart")
    for num, new in enumerate(
        ("model.decoder.layers.1.", "model.decoder.layers.0.", "model.encoder.layers.1."), 1
    ):
        added = trained_names(loaded, num) - trained_names(loaded, num - 1)
        assert added and all(name.startswith(new) for name in added)


def test_the_norm_of_debertas_relative_positions_is_frozen():
    config = DebertaV2Config(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        relative_attention=True,
        norm_rel_ebd="layer_norm",
        pos_att_type=["c2p", "p2c"],
    )
    model = DebertaV2ForSequenceClassification(config)
    names = trained_names(Pretrained(model, None, tuple(head_names(model))), 2)
    assert "deberta.encoder.LayerNorm.weight" in dict(model.named_parameters())
    assert "deberta.encoder.LayerNorm.weight" not in names
    assert "deberta.encoder.rel_embeddings.weight" not in names


def test_what_the_checkpoint_did_not_hold_trains():
    loaded = pretrained("bert")
    name = "bert.encoder.layer.0.output.dense.weight"
    loaded = Pretrained(loaded.model, None, (*loaded.fresh, name))
    assert name in trained_names(loaded, 1) and name not in trained_names(pretrained("bert"), 1)


def test_dropout_stays_on_in_frozen_blocks():
    loaded = pretrained("bert")
    method(1).initialize(loaded, 0)
    loaded.model.train()
    assert all(module.training for module in loaded.model.bert.encoder.layer[0].modules())


def test_gradients_can_be_taken_again_after_training():
    loaded, chosen = pretrained("bert"), method(1)
    chosen.initialize(loaded, 0)
    assert not all(parameter.requires_grad for parameter in loaded.model.parameters())
    chosen.finish(loaded.model)
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())


def test_more_blocks_than_there_are_is_refused_before_training():
    loaded = pretrained("bert")
    with pytest.raises(
        MethodError, match="'top_k' does not fit BertFor.*: expected num_blocks of at most 3, got 4"
    ):
        method(4).check(loaded, FinetuneConfig())
    method(4).check(pretrained("bart"), FinetuneConfig())
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())
    with pytest.raises(ConfigError, match="num_blocks is out of range"):
        TopKSettings(num_blocks=-1)


def test_regression():
    loaded = exact("bert", num_labels=1)
    before = weights(loaded.model)
    after = weights(train_by(method(1), loaded, num_labels=1))
    assert not torch.equal(before["classifier.weight"], after["classifier.weight"])
    assert torch.equal(
        before["bert.encoder.layer.1.output.dense.weight"],
        after["bert.encoder.layer.1.output.dense.weight"],
    )
