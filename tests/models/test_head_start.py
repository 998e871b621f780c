"""A new head starts at the constant answer of least loss; one of the checkpoint stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from agwm.models.head_start import constant_logits, start_head
from agwm.models.heads import class_layer
from agwm.testing.tiny_models import FAMILIES, pretrained

CLASSES = np.array([0] * 30 + [1] * 12 + [2] * 3)
SCORES = np.array([70.0, 85.0, 92.0, 40.0, 66.0])
SETS = np.stack([np.arange(40) % 2, np.arange(40) % 5 == 0, np.zeros(40)], axis=1).astype(int)

LOSSES = {
    "classes": (CLASSES, 3, lambda logits, y: F.cross_entropy(logits.expand(len(y), -1), y)),
    "scores": (SCORES, 1, lambda logits, y: F.mse_loss(logits.expand(len(y)), y)),
    "sets": (
        SETS[:, :2],
        2,
        lambda logits, y: F.binary_cross_entropy_with_logits(logits.expand(y.shape), y.double()),
    ),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_the_constant_logits_have_the_least_loss_of_all(kind):
    labels, num_labels, loss = LOSSES[kind]
    # so many examples that half an example of each class more does not count
    repeated = np.concatenate([labels] * 20_000) if kind != "scores" else labels
    logits = torch.tensor(constant_logits(repeated, num_labels), requires_grad=True)
    (slope,) = torch.autograd.grad(loss(logits, torch.as_tensor(labels)), logits)
    assert slope.abs().max() < 1e-5
    (wrong,) = torch.autograd.grad(
        loss(logits + torch.arange(1, num_labels + 1), torch.as_tensor(labels)), logits
    )
    assert wrong.abs().max() > 0.05


def test_a_class_without_an_example_and_a_label_that_all_have_are_finite():
    assert np.isfinite(constant_logits(np.array([0, 0, 2]), 4)).all()
    assert np.isfinite(constant_logits(SETS, 3)).all()
    assert np.isfinite(constant_logits(np.ones((5, 2), dtype=int), 2)).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_labels", [3, 1])
def test_a_new_head_gets_the_bias_and_the_spread_where_it_has_them(family, num_labels):
    loaded = pretrained(family, num_labels)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    labels = CLASSES if num_labels == 3 else SCORES
    start_head(loaded, labels)
    after, name = loaded.model.state_dict(), class_layer(loaded.model)
    scale = 1.0 if num_labels == 3 else torch.tensor(float(SCORES.std()))
    assert torch.equal(after[f"{name}.weight"], before[f"{name}.weight"] * scale)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    has_bias = f"{name}.bias" in before
    assert has_bias == (family != "llama")
    assert changed == ({f"{name}.bias"} if has_bias else set()) | (
        {f"{name}.weight"} if num_labels == 1 else set()
    )
    if has_bias:
        expected = torch.tensor(constant_logits(labels, num_labels), dtype=torch.float32)
        assert torch.equal(after[f"{name}.bias"], expected)


def test_a_head_of_the_checkpoint_stays_as_it_is():
    loaded = pretrained("bert", 1)
    kept = type(loaded)(loaded.model, loaded.tokenizer, fresh=())
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    start_head(kept, SCORES)
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())


def test_scores_that_are_all_the_same_leave_the_weight():
    loaded = pretrained("bert", 1)
    name = class_layer(loaded.model)
    before = loaded.model.get_submodule(name).weight.clone()
    start_head(loaded, np.array([3.0, 3.0]))
    assert torch.equal(loaded.model.get_submodule(name).weight, before)
    assert loaded.model.get_submodule(name).bias.item() == 3.0
