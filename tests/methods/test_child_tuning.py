"""Child-Tuning: Fisher information, the child network and what stays of the rest."""

from __future__ import annotations

import pytest
import torch

from agwm.errors import ConfigError, DivergenceError
from agwm.methods.child_d import ChildD, ChildDSettings, fisher_information
from agwm.methods.child_f import _STREAM, ChildF, ChildFSettings
from agwm.methods.vanilla import Vanilla
from agwm.models.families import blocks
from agwm.testing.tiny_models import FAMILIES, batch, pretrained
from tests.methods.by_hand import DECAY, RATE, SEED, HandAdamW, batches
from tests.methods.exact import exact, gradients, train_by, weights


def is_block(name):
    return name.startswith("bert.encoder.layer.")


def fisher_by_hand(model, kind, num_labels=2):
    start, total, num = weights(model), {}, 0
    for rows in batches(num_labels=num_labels):
        single = [{key: value[i : i + 1] for key, value in rows.items()} for i in range(8)]
        for part in single if kind == "example" else [rows]:
            num += 1
            for name, slope in gradients(model, start, part).items():
                if kind == "batch":
                    slope = slope / max(1.0, float(slope.norm()))
                total[name] = total.get(name, 0.0) + slope**2
    return {name: value / num for name, value in total.items() if is_block(name)}


@pytest.mark.parametrize("num_labels", [2, 1])
@pytest.mark.parametrize("kind", ["example", "batch"])
def test_fisher_information_is_that_of_the_definition(kind, num_labels):
    model = exact("bert", num_labels).model
    expected = fisher_by_hand(model, kind, num_labels)
    parameters = dict(model.named_parameters())
    found = fisher_information(
        lambda rows: model(**rows).loss, [parameters[n] for n in expected], batches(1, num_labels), kind
    )
    torch.testing.assert_close(
        dict(zip(expected, found, strict=True)),
        expected,
        rtol=1e-5 if kind == "batch" else 1e-7,
        atol=1e-15,
    )
    assert all(parameter.grad is None for parameter in model.parameters())


def chosen(fisher, kept):
    """Mark the weights of largest Fisher information."""
    ordered = torch.cat([value.flatten() for value in fisher.values()]).sort(descending=True).values
    threshold = ordered[round(kept * len(ordered)) - 1]
    return {name: value >= threshold for name, value in fisher.items()}


def child_by_hand(kept, num_labels=2, clipping=0.0):
    model = exact("bert", num_labels).model
    fisher = fisher_by_hand(model, "example", num_labels)
    child = chosen(fisher, kept)
    start = weights(model)
    now, adam = dict(start), HandAdamW()
    for rows in batches(num_labels=num_labels):
        slopes = gradients(model, now, rows)
        for name, mask in child.items():
            slopes[name] = slopes[name] * mask
        adam.step(now, slopes, clipping)
        for name, mask in child.items():
            now[name] = torch.where(mask, now[name], start[name])
    return start, now, child


@pytest.mark.parametrize(("num_labels", "clipping"), [(2, 0.0), (2, 0.5), (1, 0.5)])
def test_d_takes_the_steps_of_the_formula_and_the_rest_stays(num_labels, clipping):
    start, expected, child = child_by_hand(0.25, num_labels, clipping)
    method = ChildD(ChildDSettings(kept_fraction=0.25))
    found = weights(train_by(method, exact("bert", num_labels), num_labels, clipping=clipping))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    for name, mask in child.items():
        assert torch.equal(found[name][~mask], start[name][~mask]), "not held bit for bit"
    without = weights(train_by(Vanilla(), exact("bert", num_labels), num_labels, clipping=clipping))
    key = "bert.encoder.layer.1.intermediate.dense.weight"
    assert (without[key] - found[key]).abs().max() > 1e-3


def test_d_without_hold_lets_weight_decay_shrink_the_rest():
    start, _, child = child_by_hand(0.25)
    method = ChildD(ChildDSettings(kept_fraction=0.25, hold=False))
    found = weights(train_by(method, exact("bert")))
    key = "bert.encoder.layer.1.intermediate.dense.weight"
    rest = ~child[key]
    torch.testing.assert_close(found[key][rest], start[key][rest] * (1 - RATE * DECAY) ** 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_d_masks_so_many_weights_of_the_blocks_and_nothing_else(family):
    loaded = pretrained(family)
    method = ChildD(ChildDSettings(kept_fraction=0.1))
    method.before_training(loaded.model.train(), [batch()], 1)
    assert loaded.model.training
    masked = {id(parameter) for parameter, _ in method.masks.pairs}
    inside = {id(parameter) for block in blocks(loaded.model) for parameter in block.parameters()}
    assert masked == inside
    total = sum(mask.numel() for _, mask in method.masks.pairs)
    kept = sum(int(mask.sum()) for _, mask in method.masks.pairs)
    assert abs(kept - 0.1 * total) < 1
    free = {name for name, weight in loaded.model.named_parameters() if id(weight) not in masked}
    assert set(loaded.fresh) <= free
    assert any("embed" in name for name in free)
    if family == "bart":  # the authors' test for "layer" in the name would catch it
        assert "model.encoder.layernorm_embedding.weight" in free


@pytest.mark.parametrize("fisher", ["example", "batch"])
def test_dropout_is_off_for_examples_and_on_for_batches(fisher):
    model = pretrained("bert").model.double()
    assert model.bert.embeddings.dropout.p > 0 and not model.training
    expected = chosen(fisher_by_hand(model, fisher), 0.25)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        method = ChildD(ChildDSettings(kept_fraction=0.25, fisher=fisher))
        method.before_training(model.train(), batches(), 1)
        found.append({names[id(parameter)]: mask for parameter, mask in method.masks.pairs})

    def same(one, other):
        assert one.keys() == other.keys()
        return all(torch.equal(one[name], other[name]) for name in one)

    assert same(found[0], found[1])
    is_off = fisher == "example"
    assert same(found[0], found[2]) is is_off and same(found[0], expected) is is_off


@pytest.mark.parametrize("fisher", ["example", "batch"])
def test_d_with_all_weights_is_vanilla_bit_for_bit_also_in_dropout(fisher):
    def finetuned(method):
        loaded = pretrained("bert")
        loaded.model.double()
        return weights(train_by(method, loaded))

    expected = finetuned(Vanilla())
    found = finetuned(ChildD(ChildDSettings(kept_fraction=1.0, fisher=fisher)))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_d_stops_where_fisher_information_is_not_finite():
    loaded = pretrained("bert")
    with torch.no_grad():
        loaded.model.classifier.weight.fill_(float("inf"))
    with pytest.raises(DivergenceError, match="Fisher information is not finite: expected numbers"):
        ChildD().before_training(loaded.model, [batch()], 1)


def f_by_hand(p, hold=False, num_labels=2, clipping=0.0):
    model = exact("bert", num_labels).model
    now, adam = weights(model), HandAdamW()
    generator = torch.Generator().manual_seed(SEED + _STREAM)
    for rows in batches(num_labels=num_labels):
        slopes, old, masks = gradients(model, now, rows), dict(now), {}
        for name in slopes:
            masks[name] = torch.rand(now[name].shape, generator=generator) < p
            slopes[name] = slopes[name] * masks[name] / p
        adam.step(now, slopes, clipping)
        if hold:
            now = {name: torch.where(masks.get(name, 1 > 0), now[name], old[name]) for name in now}
    return now


@pytest.mark.parametrize(
    "changes", [{}, {"hold": True}, {"clipping": 0.5}, {"num_labels": 1, "hold": True}], ids=str
)
def test_f_takes_the_steps_of_the_formula(changes):
    others = {key: value for key, value in changes.items() if key != "hold"}
    method = ChildF(ChildFSettings(kept_fraction=0.3, hold=changes.get("hold", False)))
    found = weights(train_by(method, exact("bert", changes.get("num_labels", 2)), **others))
    torch.testing.assert_close(found, f_by_hand(0.3, **changes), rtol=1e-6, atol=1e-9)
    without = f_by_hand(1.0, **others)
    for key in ("bert.encoder.layer.1.intermediate.dense.weight", "classifier.weight"):
        assert (found[key] - without[key]).abs().max() > 1e-3


def test_f_moves_others_by_momentum_unless_they_are_held():
    assert not torch.allclose(
        f_by_hand(0.3)["classifier.weight"], f_by_hand(0.3, hold=True)["classifier.weight"], atol=1e-4
    )


def test_warm_up_is_that_of_vanilla():
    # the authors' optimizer ignores warmup_ratio; the first step of a warm-up has a learning rate of 0
    for method in (ChildD(), ChildF()):
        start = weights(exact("bert").model)
        found = weights(train_by(method, exact("bert"), warmup_ratio=1.0))
        flat = weights(train_by(type(method)(), exact("bert"), warmup_ratio=0.0))
        key = "classifier.weight"
        assert 0 < (found[key] - start[key]).norm() < 0.7 * (flat[key] - start[key]).norm()


def test_wrong_settings_are_refused():
    for settings in (ChildDSettings, ChildFSettings):
        for wrong in (0.0, 1.5):
            with pytest.raises(ConfigError, match="kept_fraction is out of range"):
                settings(kept_fraction=wrong)
    with pytest.raises(ConfigError, match="fisher is unknown: expected one of example, batch"):
        ChildDSettings(fisher="exact")
