"""Re-init: what is drawn anew, how, and from which stream."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from agwm.errors import ConfigError, MethodError
from agwm.methods.prior_decay import PriorDecay
from agwm.methods.re_init import ReInit, ReInitSettings, draw_like, untouched
from agwm.models.families import head_names
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.testing.tiny_models import FAMILIES, pretrained
from tests.methods.exact import exact, train_by, weights

# What is drawn anew for L = 1, as beginnings of names.
ONE = {
    "bert": ("bert.encoder.layer.2.", "bert.pooler."),
    "roberta": ("roberta.encoder.layer.2.",),
    "electra": ("electra.encoder.layer.2.",),
    "deberta": ("deberta.encoder.layer.2.", "pooler."),
    "deberta-v2": ("deberta.encoder.layer.2.", "pooler."),
    "xlnet": ("transformer.layer.2.", "sequence_summary."),
    "bart": ("model.decoder.layers.1.",),
    "llama": ("model.layers.2.",),
}


def method(num_blocks=1, **settings):
    return ReInit(ReInitSettings(num_blocks=num_blocks, **settings))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Save models with all weights moved off where they start, as pretraining would."""
    folders = {}
    for family in FAMILIES:
        model = pretrained(family).model
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.5)
        folders[family] = tmp_path_factory.mktemp(family)
        model.save_pretrained(folders[family])
    return folders


def load(checkpoints, family):
    """Load one, so that transformers marks its weights as loaded."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoints[family]).eval()
    return Pretrained(model, None, tuple(head_names(model)))


@pytest.mark.parametrize("family", FAMILIES)
def test_top_block_and_pooler_are_drawn_as_before_pretraining(family, checkpoints):
    loaded = load(checkpoints, family)
    before = weights(loaded.model)
    method().check(loaded, FinetuneConfig())
    assert all(torch.equal(before[name], value) for name, value in weights(loaded.model).items())
    method().initialize(loaded, 7)
    after = weights(loaded.model)
    new = {name for name in before if not torch.equal(before[name], after[name])}
    assert new == {name for name in before if name.startswith(ONE[family])}
    drawn = []
    for name in new:
        owner = loaded.model.get_submodule(name.rpartition(".")[0])
        value = after[name]
        if "norm" in type(owner).__name__.lower():
            assert torch.equal(value, torch.full_like(value, float(name.endswith("weight"))))
        elif name.endswith("bias") and family != "xlnet":
            assert torch.equal(value, torch.zeros_like(value))
        elif not isinstance(owner, nn.Linear) or name.endswith("weight"):
            drawn.append(value.flatten())
    drawn = torch.cat(drawn)
    # all these configs ask for a standard deviation of 0.2, where the checkpoint's mean is 0.5
    assert abs(float(drawn.std()) - 0.2) < 0.01 and abs(float(drawn.mean())) < 0.02


def test_xlnets_own_parameters_are_drawn_too(checkpoints):
    loaded = load(checkpoints, "xlnet")
    before = weights(loaded.model)
    method().initialize(loaded, 7)
    for own in ("q", "k", "v", "o", "r", "r_r_bias", "r_s_bias", "r_w_bias", "seg_embed"):
        name = f"transformer.layer.2.rel_attn.{own}"
        value = loaded.model.get_parameter(name).detach()
        assert not torch.equal(value, before[name]) and float(value.abs().max()) > 0
        assert abs(float(value.mean())) < 0.2


def test_the_plain_way_would_change_nothing(checkpoints):
    """Tells when transformers no longer marks what it has loaded, so that no copy is needed."""
    loaded = load(checkpoints, "bert")
    before = weights(loaded.model)
    loaded.model.bert.encoder.layer[2].apply(loaded.model._init_weights)
    assert all(torch.equal(before[name], value) for name, value in weights(loaded.model).items())


def test_the_stream_is_its_own(checkpoints):
    torch.manual_seed(11)
    expected = torch.rand(5)
    torch.manual_seed(11)
    first, again, other = (load(checkpoints, "bert") for _ in range(3))
    torch.manual_seed(11)
    method().initialize(first, 3)
    assert torch.equal(torch.rand(5), expected)  # data order and dropout are as without it
    method().initialize(again, 3)
    method().initialize(other, 4)
    key = "bert.encoder.layer.2.output.dense.weight"
    values = [weights(loaded.model)[key] for loaded in (first, again, other)]
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])
    torch.manual_seed(3)  # nor are they the draws that the run's own seed would give
    plain = draw_like(first.model, first.model.bert.encoder.layer[2])["output.dense.weight"]
    assert not torch.equal(values[0], plain)


def test_pooler_is_kept_if_so_set(checkpoints):
    loaded = load(checkpoints, "bert")
    before = weights(loaded.model)
    method(0, pooler=False).initialize(loaded, 0)
    assert all(torch.equal(before[name], value) for name, value in weights(loaded.model).items())
    method(0).initialize(loaded, 0)
    name = "bert.pooler.dense.weight"
    assert not torch.equal(before[name], loaded.model.get_parameter(name))


def test_more_blocks_than_the_decoder_has_is_refused():
    method(2).check(pretrained("bart"), FinetuneConfig())
    with pytest.raises(
        MethodError, match="does not fit BartFor.*: expected num_blocks of at most 2, got 3"
    ):
        method(3).check(pretrained("bart"), FinetuneConfig())
    with pytest.raises(ConfigError, match="num_blocks is out of range"):
        ReInitSettings(num_blocks=-1)


def test_a_block_with_a_weight_of_its_own_is_refused_and_left_alone():
    loaded = pretrained("bert")
    block = loaded.model.bert.encoder.layer[2]
    block.gate = nn.Parameter(torch.full((3,), 2.0))
    before = weights(loaded.model)
    assert untouched(draw_like(loaded.model, block)) == ["gate"]
    with pytest.raises(MethodError, match="expected a class that initializes every weight.*'gate'"):
        method().check(loaded, FinetuneConfig())
    assert all(torch.equal(before[name], value) for name, value in weights(loaded.model).items())


@pytest.mark.parametrize("num_labels", [2, 1])
def test_training_starts_from_the_drawn_weights(num_labels):
    drawn, trained = exact("bert", num_labels), exact("bert", num_labels)
    before = weights(trained.model)
    method().initialize(drawn, 5)  # the seed of train_by
    start = weights(drawn.model)
    after = weights(train_by(method(), trained, num_labels, learning_rate=1e-6))
    key = "bert.encoder.layer.2.output.dense.weight"
    torch.testing.assert_close(after[key], start[key], rtol=0, atol=1e-5)
    assert (after[key] - before[key]).abs().max() > 0.1
    assert not torch.equal(after[key], start[key])


def test_it_comes_before_copies_of_the_pretrained_weights():
    loaded = pretrained("bert")
    method().initialize(loaded, 0)
    prior = PriorDecay()
    prior.initialize(loaded, 0)
    prior.reparametrize(loaded, FinetuneConfig(), 0)
    key = "bert.encoder.layer.2.output.dense.weight"
    assert torch.equal(prior.pretrained[key], loaded.model.get_parameter(key))
