"""Putting the hook on, taking it off, copying an injected model, and what cannot be done twice."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import agwm
from agwm.errors import ConfigError, ModelError, SelectionError
from tests.architectures import text_batch
from tests.mixing.hook_checks import leftovers, randomize, randomize_alpha, randomize_task_weights
from tests.tiny_models import tiny_bert

QUERY = "bert.encoder.layer.0.attention.self.query.weight"


def injected(**options):
    mixup = agwm.inject(tiny_bert().eval(), seed=0, **options)
    randomize(mixup)
    return mixup


def logits(model):
    with torch.no_grad():
        return model(**text_batch_of_two()).logits


def text_batch_of_two():
    batch = text_batch()
    batch["labels"] = batch["labels"] % 2
    return batch


def test_mixup_tells_what_it_is():
    mixup = injected()
    text = repr(mixup)
    assert "BertForSequenceClassification, 13 mixed weights" in text
    assert "alpha='rank1', formula='convex'" in text
    assert agwm.mixup_of(mixup.model) is mixup


def test_alpha_of_a_weight_and_of_what_is_none():
    mixup = injected()
    factors = mixup.attention[QUERY]
    assert torch.equal(mixup.alpha(QUERY), factors.a * factors.b)
    with pytest.raises(ConfigError, match="Weight is not mixed"):
        mixup.alpha("classifier.weight")


def test_remove_leaves_the_task_weights():
    mixup = injected()
    task = {name: value.clone() for name, value in mixup.model.state_dict().items()}
    plain = tiny_bert().eval()
    plain.load_state_dict(task)
    mixed = logits(mixup.model)
    assert mixup.remove() is mixup.model
    assert torch.equal(logits(mixup.model), logits(plain))
    assert not torch.equal(logits(plain), mixed)
    assert leftovers(mixup.model) == []
    assert agwm.mixup_of(mixup.model) is None


def test_merge_writes_what_the_hook_computed():
    mixup = injected()
    mixed = {name: value.clone() for name, value in mixup.mixed_weights().items()}
    before = logits(mixup.model)
    parameters = dict(mixup.model.named_parameters())
    model = mixup.merge()
    assert all(torch.equal(parameters[name], value) for name, value in mixed.items())
    assert dict(model.named_parameters()).keys() == parameters.keys()
    assert all(new is parameters[name] for name, new in model.named_parameters())
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("first", ["merge", "remove"])
@pytest.mark.parametrize("second", ["merge", "remove"])
def test_hook_comes_off_once(first, second):
    mixup = injected()
    getattr(mixup, first)()
    with pytest.raises(ModelError, match="no longer on the model"):
        getattr(mixup, second)()


@pytest.mark.parametrize("part", ["whole", "backbone", "wrapper"])
def test_second_injection_is_refused(part):
    model = injected().model
    target = {"whole": model, "backbone": model.bert, "wrapper": nn.ModuleList([model])}[part]
    with pytest.raises(ModelError, match="injected already"):
        agwm.inject(target)


def test_injection_after_remove_starts_from_the_weights_of_now():
    mixup = injected()
    model = mixup.remove()
    again = agwm.inject(model, seed=0)
    assert torch.equal(again.pretrained[QUERY], model.state_dict()[QUERY])
    assert not torch.equal(again.pretrained[QUERY], mixup.pretrained[QUERY])


def test_optimizer_built_before_moves_the_task_weights():
    model = tiny_bert()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mixup = agwm.inject(model, seed=0)
    before = mixup.pretrained[QUERY].clone()
    model(**text_batch_of_two()).loss.backward()
    optimizer.step()
    assert not torch.equal(model.state_dict()[QUERY], before)
    assert torch.equal(mixup.pretrained[QUERY], before)
    assert mixup.pretrained[QUERY].grad is None and not mixup.pretrained[QUERY].requires_grad


def test_attention_is_no_part_of_the_model():
    mixup = injected()
    of_model = {id(parameter) for parameter in mixup.model.parameters()}
    factors = list(mixup.attention.parameters())
    assert len(factors) == 2 * len(mixup.names)
    assert not any(id(factor) in of_model for factor in factors)
    assert list(mixup.attention) == mixup.names and len(mixup.attention) == len(mixup.names)


def test_pretrained_weights_are_a_read_only_mapping():
    mixup = injected()
    assert list(mixup.pretrained) == mixup.names
    assert len(mixup.pretrained) == len(mixup.names)
    with pytest.raises(TypeError):
        mixup.pretrained[QUERY] = torch.zeros(1)


@pytest.mark.parametrize("of_model", [True, False])
def test_copy_is_independent(of_model):
    mixup = injected()
    before = logits(mixup.model)
    if of_model:
        twin = agwm.mixup_of(copy.deepcopy(mixup.model))
    else:
        twin = copy.deepcopy(mixup)
    assert twin is not mixup and twin.model is not mixup.model
    assert agwm.mixup_of(twin.model) is twin
    assert torch.equal(logits(twin.model), before)

    randomize_alpha(twin, seed=7)
    moved = logits(twin.model)
    assert not torch.equal(moved, before)
    randomize_task_weights(twin, seed=8)
    assert not torch.equal(logits(twin.model), moved)
    assert torch.equal(logits(mixup.model), before)

    mixed = logits(twin.model)
    assert torch.equal(logits(twin.merge()), mixed)
    assert agwm.mixup_of(mixup.model) is mixup and torch.equal(logits(mixup.model), before)
    assert mixup.names == twin.names


def test_projection_brings_every_factor_back():
    mixup = injected()
    with torch.no_grad():
        for factor in mixup.attention.parameters():
            factor.add_(torch.randn_like(factor))
    mixup.project_()
    for factor in mixup.attention.parameters():
        assert factor.min() >= 0 and factor.max() <= 1


def test_cache_mixes_once_and_ends():
    mixup = injected()
    before = logits(mixup.model)
    with mixup.cached():
        with torch.no_grad():
            first, second = (mixup.mixed_weights()[QUERY] for _ in range(2))
        assert first is second
        assert torch.equal(logits(mixup.model), before)
        loss = mixup.model(**text_batch_of_two()).loss
        loss.backward()
    assert mixup.attention[QUERY].a.grad.norm() > 0
    randomize_task_weights(mixup, seed=9)
    assert not torch.equal(logits(mixup.model), before)


def test_cache_ends_when_the_body_fails():
    mixup = injected()
    with pytest.raises(KeyError), mixup.cached():
        logits(mixup.model)
        raise KeyError
    before = logits(mixup.model)
    randomize_task_weights(mixup, seed=9)
    assert not torch.equal(logits(mixup.model), before)


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="formula is unknown"):
        agwm.inject(tiny_bert(), formula="linear")
    with pytest.raises(ConfigError, match="init_std is out of range"):
        agwm.inject(tiny_bert(), init_std=-0.1)
    with pytest.raises(ConfigError, match="init_std is out of range"):
        agwm.inject(tiny_bert(), init_std=float("nan"))
    with pytest.raises(ConfigError, match="init_std is out of range.*got 'a'"):
        agwm.inject(tiny_bert(), init_std="a")
    with pytest.raises(ConfigError, match="seed is of the wrong type.*got 'x'"):
        agwm.inject(tiny_bert(), seed="x")
    with pytest.raises(SelectionError, match="Patterns are unusable.*got 5"):
        agwm.inject(tiny_bert(), include=5)


@pytest.mark.parametrize("take_off", ["merge", "remove"])
def test_mixed_weights_are_not_mixed_twice(take_off):
    mixup = injected()
    getattr(mixup, take_off)()
    with pytest.raises(ModelError, match="no longer on the model"):
        mixup.mixed_weights()
