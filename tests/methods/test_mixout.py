"""Mixout: formula, gradient, masks and what it leaves alone."""

from __future__ import annotations

import itertools

import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification

from agwm.errors import ConfigError, MethodError
from agwm.methods.backbone_dropout import BackboneDropout
from agwm.methods.mixout import Mixout, MixoutSettings
from agwm.methods.mixout_weights import _STREAM, column_shape, mixable, mixout
from agwm.methods.vanilla import Vanilla
from agwm.mixing.hook import is_hooked
from agwm.mixing.selection import select
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.testing.tiny_models import FAMILIES, batch, pretrained
from tests.methods.by_hand import SEED, HandAdamW, batches
from tests.methods.exact import exact, gradients, train_by, weights
from tests.methods.mixed_weights import Heads, is_mixed

KEY = "bert.encoder.layer.1.intermediate.dense.weight"


def by_hand(p, gradient="exact", num_labels=2, clipping=0.0, mask="column"):
    model = exact("bert", num_labels).model
    start = weights(model)
    now, adam = dict(start), HandAdamW()
    generator = torch.Generator().manual_seed(SEED + _STREAM)
    for rows in batches(num_labels=num_labels):
        seen, kept = dict(now), {}
        for name in filter(is_mixed, now):
            num_out, num_in = now[name].shape
            shape = (1, num_in) if mask == "column" else (num_out, num_in)
            kept[name] = (torch.rand(shape, generator=generator) >= p).double().expand(num_out, -1)
            fallen = (1 - kept[name]) * start[name]
            seen[name] = (fallen + kept[name] * now[name] - p * start[name]) / (1 - p)
        slopes = gradients(model, seen, rows)
        for name, keep in kept.items():
            slopes[name] = slopes[name] * keep / (1 if gradient == "official" else 1 - p)
        adam.step(now, slopes, clipping)
    return now


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_labels": 1},
        {"clipping": 0.5},
        {"clipping": 0.5, "gradient": "official"},
        {"mask": "element"},
    ],
    ids=str,
)
def test_three_steps_are_those_of_the_formula(changes):
    own = {key: value for key, value in changes.items() if key in ("gradient", "mask")}
    others = {key: value for key, value in changes.items() if key not in own}
    method = Mixout(MixoutSettings(p=0.6, **own))
    found = weights(train_by(method, exact("bert", changes.get("num_labels", 2)), **others))
    torch.testing.assert_close(found, by_hand(0.6, **changes), rtol=1e-6, atol=1e-9)
    without = by_hand(0.0, **others)
    assert (found[KEY] - without[KEY]).abs().max() > 1e-3


def test_official_gradient_differs_under_clipping():
    assert not torch.allclose(
        by_hand(0.6, "official", clipping=0.5)[KEY], by_hand(0.6, clipping=0.5)[KEY], atol=1e-5
    )


def test_mean_over_masks_is_the_weight_and_the_gradient_is_the_derivative():
    p, generator = 0.3, torch.Generator().manual_seed(0)
    task, target = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    mean = torch.zeros_like(task)
    for bits in itertools.product([False, True], repeat=3):
        chance = (1 - p) ** sum(bits) * p ** (3 - sum(bits))
        mean += chance * mixout(task, target, torch.tensor([bits]), p)
    torch.testing.assert_close(mean, task)
    mask = torch.tensor([[True, False, True]])
    mixed = mixout(task, target, mask, p)
    assert torch.equal(mixed[:, 1], target[:, 1])
    task.requires_grad_()
    torch.autograd.gradcheck(lambda weight: mixout(weight, target, mask, p), (task,))
    (slope,) = torch.autograd.grad(mixout(task, target, mask, p).sum(), task)
    torch.testing.assert_close(slope, mask.double().expand(4, 3) / (1 - p))


def test_without_falling_back_it_is_vanilla_bit_for_bit():
    def finetuned(method):
        return weights(train_by(method, Pretrained(pretrained("bert").model.double(), None, ())))

    expected = finetuned(Vanilla())
    found = finetuned(Mixout(MixoutSettings(p=0.0, dropout="keep")))
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)


def prepared(loaded, **settings):
    method = Mixout(MixoutSettings(**settings))
    method.reparametrize(loaded, FinetuneConfig(), 0)
    return method


def test_one_mask_a_step_and_the_weight_itself_outside():
    loaded = pretrained("bert")
    layer = loaded.model.bert.encoder.layer[0].output.dense
    before, keys = layer.weight.detach().clone(), list(loaded.model.state_dict())
    method = prepared(loaded)
    with torch.no_grad():
        layer._parameters["weight"].add_(1.0)
    assert torch.equal(layer.weight, before + 1), "no mask outside of a step"
    seen = []
    for _ in range(2):
        method.begin_step()
        method.loss(loaded.model, batch()).backward()
        assert torch.equal(layer.weight, layer.weight)
        seen.append(layer.weight.detach().clone())
        method.edit_gradients(loaded.model)
        assert torch.equal(layer.weight, before + 1)
    assert not torch.equal(*seen)
    is_fallen = seen[0] == before
    assert is_fallen.any() and torch.equal(is_fallen, is_fallen[:1].expand_as(is_fallen))
    assert method.finish(loaded.model) is loaded.model
    assert not any(is_hooked(module) for module in loaded.model.modules())
    assert list(loaded.model.state_dict()) == keys and torch.equal(layer.weight, before + 1)


@pytest.mark.parametrize("family", ["bert", "bart"])
def test_gradient_checkpointing_sees_the_same_masks(family):
    slopes = []
    for is_checkpointed in (False, True):
        loaded = exact(family)
        if is_checkpointed:
            loaded.model.gradient_checkpointing_enable({"use_reentrant": False})
        with torch.no_grad():
            method = prepared(loaded, p=0.5)
            for weight in method.weights.weights:
                weight.parameter.add_(0.1)
        loaded.model.train()
        method.begin_step()
        method.loss(loaded.model, batch()).backward()
        named = loaded.model.named_parameters()
        slopes.append({name: weight.grad for name, weight in named if weight.grad is not None})
    torch.testing.assert_close(slopes[0], slopes[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_all_of_the_backbone_and_nothing_of_the_head(family):
    loaded = pretrained(family)
    names = {candidate.name for candidate in mixable(loaded)}
    assert names and not names & set(loaded.fresh)
    assert names == {candidate.name for candidate in select(loaded.model)}
    one = sorted(names)[0]
    fresh = Pretrained(loaded.model, None, (*loaded.fresh, one))
    assert {candidate.name for candidate in mixable(fresh)} == names - {one}


def test_xlnets_attention_drops_inputs():
    chosen = {c.name.rpartition(".")[2]: c for c in mixable(pretrained("xlnet")) if ".rel_attn." in c.name}
    assert set(chosen) == {"q", "k", "v", "o", "r"}
    generator = torch.Generator().manual_seed(0)
    weight, states = torch.randn(16, 2, 8, generator=generator), torch.randn(3, 16, generator=generator)
    mask = torch.rand(column_shape(chosen["q"]), generator=generator) > 0.5
    torch.testing.assert_close(
        torch.einsum("ih,hnd->ind", states, weight * mask),
        torch.einsum("ih,hnd->ind", states * mask.flatten(), weight),
    )
    vectors = torch.randn(3, 2, 8, generator=generator)
    mask = torch.rand(column_shape(chosen["o"]), generator=generator) > 0.5
    torch.testing.assert_close(
        torch.einsum("ind,hnd->ih", vectors, weight * mask),
        torch.einsum("ind,hnd->ih", vectors * mask, weight),
    )


def test_gpt2s_maps_drop_inputs():
    config = GPT2Config(vocab_size=99, n_positions=16, n_embd=16, n_layer=1, n_head=2, pad_token_id=0)
    model = GPT2ForSequenceClassification(config)
    chosen = {
        candidate.name: candidate for candidate in mixable(Pretrained(model, None, ("score.weight",)))
    }
    parts = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert set(chosen) == {f"transformer.h.0.{part}.weight" for part in parts}
    generator = torch.Generator().manual_seed(0)
    for name, candidate in chosen.items():
        layer = model.get_submodule(name.removesuffix(".weight"))
        num_in, num_out = candidate.parameter.shape
        states = torch.randn(3, num_in, generator=generator)
        mask = torch.rand(column_shape(candidate), generator=generator) > 0.5
        expected = layer(states * mask.flatten())
        with torch.no_grad():
            layer.weight.mul_(mask)
        torch.testing.assert_close(layer(states), expected)
        assert expected.shape == (3, num_out)


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_goes_off_in_every_family_and_comes_back(family):
    loaded = pretrained(family)
    if family == "llama":  # none by default
        for block in loaded.model.model.layers:
            block.self_attn.attention_dropout = 0.5
    backbone = loaded.model.base_model.train()
    inputs = {name: value for name, value in batch().items() if name != "labels"}

    def is_random():
        with torch.no_grad():
            return not torch.equal(backbone(**inputs)[0], backbone(**inputs)[0])

    assert is_random()
    config = loaded.model.config.to_dict()
    dropout = BackboneDropout(loaded.model)
    assert not is_random() and loaded.model.config.to_dict() == config
    dropout.restore()
    assert is_random()


def test_dropout_is_a_setting_and_the_head_keeps_its_own():
    loaded = pretrained("bert")
    method = prepared(loaded)
    assert loaded.model.dropout.p > 0 and loaded.model.bert.embeddings.dropout.p == 0
    method.finish(loaded.model)
    assert loaded.model.bert.embeddings.dropout.p > 0
    prepared(loaded, dropout="keep")
    assert loaded.model.bert.embeddings.dropout.p > 0


def test_refuses_maps_whose_inputs_it_does_not_know_but_for_single_elements():
    loaded = pretrained("bert")
    loaded.model.bert.encoder.heads = Heads()
    with pytest.raises(MethodError, match=r"got 'bert.encoder.heads.maps'. Set rivals.mixout.mask=element"):
        Mixout().check(loaded, FinetuneConfig())
    Mixout(MixoutSettings(mask="element")).check(loaded, FinetuneConfig())


def test_wrong_settings_are_refused():
    for wrong in ({"p": 1.0}, {"mask": "row"}, {"gradient": "true"}, {"dropout": "on"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            MixoutSettings(**wrong)
