"""DPS: windows, masks and steps by hand, with and without Mixout."""

from __future__ import annotations

import math

import pytest
import torch

from agwm.errors import ConfigError, MethodError
from agwm.methods.dps_dense import DpsDense, DpsDenseSettings, window, window_length
from agwm.methods.dps_mix import DpsMix, DpsMixSettings, mix_scores
from agwm.methods.mixout_weights import _STREAM
from agwm.methods.vanilla import Vanilla
from agwm.mixing.hook import is_hooked
from agwm.models.families import head_names
from agwm.recipe.config import FinetuneConfig
from agwm.testing.tiny_models import FAMILIES, batch, pretrained
from tests.methods.by_hand import SEED, HandAdamW, batches
from tests.methods.exact import exact, gradients, train_by, weights
from tests.methods.mixed_weights import Heads, is_mixed

KEY = "bert.encoder.layer.1.intermediate.dense.weight"
# Nine steps in windows of two: full, masked, full, masked, full; so masks are chosen twice.
EPOCHS, RATIO, LENGTH, P = 3, 0.23, 2, 0.4


def top(score, p=P):
    """Mark the entries from rank ceil((1 - p) n) up."""
    rank = math.ceil((1 - p) * score.numel())
    return score >= score.flatten().sort(descending=True).values[rank - 1]


def test_windows_alternate_and_have_at_least_one_step():
    assert [window(step, 2) for step in range(1, 7)] == [
        (1, True),
        (1, False),
        (2, True),
        (2, False),
        (1, True),
        (1, False),
    ]
    assert [window(step, LENGTH) for step in (3, 7)] == [(2, True)] * 2
    assert window_length(3 * EPOCHS, RATIO) == LENGTH
    # of all steps of the run: full RTE, then 300 examples, which stop the authors' code
    assert [window_length(steps, 0.05) for steps in (468, 57, 19, 1)] == [23, 2, 1, 1]


def dense_by_hand(hold=True, num_labels=2, clipping=0.0, masked=True, mask_head=True):
    model = exact("bert", num_labels).model
    now, adam, squares, masks, at_switch = weights(model), HandAdamW(), {}, {}, None
    names = [n for n in now if is_mixed(n) or (mask_head and n == "classifier.weight")]
    for step, rows in enumerate(batches(EPOCHS, num_labels), 1):
        slopes = gradients(model, now, rows)
        if math.ceil(step / LENGTH) % 2 == 1 or not masked:
            masks = {}
            if (step - 1) % LENGTH == 0:
                squares = dict.fromkeys(names, 0.0)
            squares = {name: squares[name] + slopes[name] ** 2 for name in names}
        else:
            if not masks:
                masks, at_switch = {name: top(squares[name]) for name in names}, dict(now)
            for name, mask in masks.items():
                slopes[name] = slopes[name] * mask
        adam.step(now, slopes, clipping)
        if hold:
            now.update(
                {name: torch.where(mask, now[name], at_switch[name]) for name, mask in masks.items()}
            )
    return now


@pytest.mark.parametrize(
    "changes",
    [{}, {"hold": False}, {"clipping": 0.5}, {"num_labels": 1}, {"mask_head": False}],
    ids=str,
)
def test_dense_takes_the_steps_of_the_formula(changes):
    own = {key: value for key, value in changes.items() if key in ("hold", "mask_head")}
    others = {key: value for key, value in changes.items() if key not in own}
    method = DpsDense(DpsDenseSettings(masked_fraction=P, update_ratio=RATIO, **own))
    found = weights(train_by(method, exact("bert", changes.get("num_labels", 2)), epochs=EPOCHS, **others))
    torch.testing.assert_close(found, dense_by_hand(**changes), rtol=1e-6, atol=1e-9)
    without = dense_by_hand(masked=False, **others)
    assert (found[KEY] - without[KEY]).abs().max() > 1e-3


def test_settings_of_dense_are_of_effect():
    usual = dense_by_hand()
    assert (usual[KEY] - dense_by_hand(hold=False)[KEY]).abs().max() > 1e-3
    free = dense_by_hand(mask_head=False)
    assert (usual["classifier.weight"] - free["classifier.weight"]).abs().max() > 1e-3


def test_dense_without_a_masked_part_is_vanilla_bit_for_bit():
    found, expected = (
        weights(train_by(method, exact("bert"), epochs=EPOCHS))
        for method in (DpsDense(DpsDenseSettings(masked_fraction=0.0)), Vanilla())
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def prepared(method, loaded, num_steps=4, seed=0):
    method.initialize(loaded, seed)
    method.reparametrize(loaded, FinetuneConfig(), seed)
    method.before_training(loaded.model, [], num_steps)
    return method


@pytest.mark.parametrize("family", FAMILIES)
def test_dense_masks_every_matrix_and_no_bias_norm_or_embedding(family):
    loaded = pretrained(family)
    method = prepared(DpsDense(), loaded)
    names = {id(parameter): name for name, parameter in loaded.model.named_parameters()}
    masked = {names[id(weight)] for weight in method.weights}
    assert not [n for n in masked if n.endswith("bias") or "norm" in n.lower() or "embed" in n.lower()]
    assert masked & set(head_names(loaded.model)), "the head's matrices are masked too"
    without = prepared(DpsDense(DpsDenseSettings(mask_head=False)), loaded)
    assert {names[id(weight)] for weight in without.weights} == masked - set(head_names(loaded.model))
    for step in range(2):
        loaded.model(**batch()).loss.backward()
        method.edit_gradients(loaded.model)
        loaded.model.zero_grad()
        assert bool(method.masks.pairs) == (step == 1)
    for weight, mask in method.masks.pairs:
        assert mask.shape == weight.shape and int(mask.sum()) == math.ceil(0.7 * mask.numel() - 1e-6)


def steps_of(method, model, losses):
    """Take steps as the trainer does, losses times factors in place of fp16's overflow."""
    for factor in losses:
        method.begin_step()
        (method.loss(model, batch()) * factor).backward()
        method.edit_gradients(model)
        model.zero_grad()


@pytest.mark.parametrize("kind", [DpsDense, DpsMix])
def test_skipped_steps_neither_count_nor_accumulate(kind):
    ratio = {"update_ratio": 0.5, "dropout": "off"}
    found = []
    for factors in ([1.0, 1.0, 1.0], [1.0, math.inf, 1.0, math.nan, 1.0]):
        loaded = exact("bert")
        method = prepared(kind(kind.settings_class(**ratio)), loaded, num_steps=4)
        loaded.model.train()
        steps_of(method, loaded.model, factors[:-1])
        assert method.step == 2 and all(torch.isfinite(total).all() for total in method.squares)
        steps_of(method, loaded.model, factors[-1:])
        assert method.step == 3
        found.append([mask for _, mask in method.masks.pairs])
    assert len(found[0]) == len(found[1]) > 0
    if kind is DpsDense:  # of Mixout, a skipped step has used up its masks
        assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_scores_are_means_over_the_steps_that_kept_a_weight():
    squares = torch.tensor([[8.0, 0.0, 3.0], [4.0, 0.0, 9.0]])
    counts = torch.tensor([[4.0, 0.0, 1.0]])
    expected = torch.tensor([[2.0, 0.0, 3.0], [1.0, 0.0, 9.0]])
    torch.testing.assert_close(mix_scores(squares, counts, 49), expected)
    factors = torch.tensor([math.exp(-4 / 50), 1.0, math.exp(-1 / 50)])
    torch.testing.assert_close(mix_scores(squares, counts, 50), expected * factors)


def mix_by_hand(p=P, gradient="exact", hold=True, num_labels=2, clipping=0.0):
    model = exact("bert", num_labels).model
    start = weights(model)
    now, adam, names = dict(start), HandAdamW(), [name for name in start if is_mixed(name)]
    generator = torch.Generator().manual_seed(SEED + _STREAM)
    squares, counts, masks, target = {}, {}, {}, {}
    for step, rows in enumerate(batches(EPOCHS, num_labels), 1):
        is_stage_one, is_first = math.ceil(step / LENGTH) % 2 == 1, (step - 1) % LENGTH == 0
        if is_stage_one:
            if is_first:
                squares, counts = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
                target = start
            for name in names:
                draw = torch.rand(1, now[name].shape[1], generator=generator) >= p
                masks[name] = draw.double().expand_as(now[name])
        elif is_first:
            target = dict(now)
            for name in names:
                score = torch.where(counts[name] > 0, squares[name] / counts[name], 0.0)
                masks[name] = top(score, p).double()
        seen = dict(now)
        for name, mask in masks.items():
            fallen = (1 - mask) * target[name]
            seen[name] = (fallen + mask * now[name] - p * target[name]) / (1 - p)
        slopes = gradients(model, seen, rows)
        for name, mask in masks.items():
            if is_stage_one:
                squares[name] = squares[name] + slopes[name] ** 2 * mask
                counts[name] = counts[name] + mask
            slopes[name] = slopes[name] * mask / (1 if gradient == "official" else 1 - p)
        adam.step(now, slopes, clipping)
        if hold and not is_stage_one:
            now.update({n: torch.where(mask > 0, now[n], target[n]) for n, mask in masks.items()})
    return now


@pytest.mark.parametrize(
    "changes",
    [{}, {"hold": False}, {"clipping": 0.5, "gradient": "official"}, {"num_labels": 1, "clipping": 0.5}],
    ids=str,
)
def test_mix_takes_the_steps_of_the_formula(changes):
    own = {key: value for key, value in changes.items() if key in ("hold", "gradient")}
    others = {key: value for key, value in changes.items() if key not in own}
    method = DpsMix(DpsMixSettings(masked_fraction=P, update_ratio=RATIO, **own))
    loaded = exact("bert", changes.get("num_labels", 2))
    model = train_by(method, loaded, epochs=EPOCHS, **others)
    found = weights(model)
    torch.testing.assert_close(found, mix_by_hand(**changes), rtol=1e-6, atol=1e-9)
    without = mix_by_hand(p=0.0, **others)
    assert (found[KEY] - without[KEY]).abs().max() > 1e-3
    method.finish(model)
    assert not any(is_hooked(module) for module in model.modules())
    assert torch.equal(dict(model.named_parameters())[KEY], found[KEY])


def test_mix_holds_the_rest_and_leaves_the_head_alone():
    loaded = pretrained("bert")
    method = prepared(DpsMix(DpsMixSettings(update_ratio=0.25)), loaded)
    names = {id(parameter): name for name, parameter in loaded.model.named_parameters()}
    assert not {names[id(weight)] for weight in method.weights} & set(loaded.fresh)
    optimizer = torch.optim.AdamW(loaded.model.parameters(), lr=1e-2, weight_decay=0.1)
    loaded.model.train()
    for _ in range(2):
        before = weights(loaded.model)
        method.begin_step()
        method.loss(loaded.model, batch()).backward()
        method.edit_gradients(loaded.model)
        method.before_step(optimizer)
        optimizer.step()
        method.after_step(loaded.model)
        optimizer.zero_grad()
    after = weights(loaded.model)
    assert method.masks.pairs
    for weight, mask in method.masks.pairs:
        name = names[id(weight)]
        assert torch.equal(after[name][~mask], before[name][~mask])
        assert not torch.equal(after[name][mask], before[name][mask])
    assert (after["classifier.weight"] != before["classifier.weight"]).all()
    method.finish(loaded.model)
    assert loaded.model.bert.embeddings.dropout.p > 0


def test_dropout_is_vanillas_in_dense_and_off_in_mix():
    for kind, settings, is_off in (
        (DpsDense, {}, False),
        (DpsDense, {"dropout": "off"}, True),
        (DpsMix, {}, True),
        (DpsMix, {"dropout": "keep"}, False),
    ):
        loaded = pretrained("bert")
        method = prepared(kind(kind.settings_class(**settings)), loaded)
        assert (loaded.model.bert.embeddings.dropout.p == 0) == is_off
        method.finish(loaded.model)
        assert loaded.model.bert.embeddings.dropout.p > 0


def test_mix_refuses_maps_whose_inputs_it_does_not_know():
    loaded = pretrained("bert")
    loaded.model.bert.encoder.heads = Heads()
    with pytest.raises(
        MethodError, match="expected pretrained linear maps .* got 'bert.encoder.heads.maps'"
    ):
        DpsMix().check(loaded, FinetuneConfig())
    DpsDense().check(loaded, FinetuneConfig())


@pytest.mark.parametrize("settings", [DpsDenseSettings, DpsMixSettings])
def test_wrong_settings_are_refused(settings):
    for wrong in (
        {"masked_fraction": 1.0},
        {"update_ratio": -0.1},
        {"update_ratio": 0.6},
        {"dropout": "on"},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            settings(**wrong)
