"""R-Drop follows its formula, and its traps are closed."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from agwm.errors import ConfigError, MethodError
from agwm.methods.r_drop import RDrop, RDropSettings, has_dropout
from agwm.recipe.config import FinetuneConfig
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import FAMILIES, batch, pretrained
from agwm.training.config import TrainingConfig
from tests.methods.exact import double


class Mask(torch.nn.Module):
    """Dropout whose masks are given: a mask an example, the same for the same place in the batch."""

    def forward(self, values):
        torch.manual_seed(5)
        return values * (torch.rand(values.shape) > 0.3) / 0.7


def masked(num_labels):
    """A model without dropout but for masks before the classifier that can be drawn again."""
    model = pretrained("bert", num_labels).model.double().train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.dropout = Mask()
    return model


def by_hand(model, inputs, alpha, num_labels):
    pooled = model.bert(inputs["input_ids"], attention_mask=inputs["attention_mask"]).pooler_output
    torch.manual_seed(5)
    keep = (torch.rand(2 * len(pooled), pooled.shape[1]) > 0.3) / 0.7
    one, two = (model.classifier(pooled * part) for part in keep.chunk(2))
    labels = inputs["labels"]
    if num_labels == 1:
        task = [(scores[:, 0] - labels).square().mean() for scores in (one, two)]
        return sum(task) / 2 + alpha * (one - two).square().mean()
    task = [-logits.log_softmax(1)[range(len(labels)), labels].mean() for logits in (one, two)]
    p, q = one.softmax(1), two.softmax(1)
    kl = ((p * (p / q).log()).sum(1) + (q * (q / p).log()).sum(1)).sum() / len(labels)
    return sum(task) / 2 + alpha * kl / 2


@pytest.mark.parametrize("num_labels", [2, 1])
def test_two_steps_by_hand(num_labels):
    ours = masked(num_labels)
    theirs = copy.deepcopy(ours)
    method = RDrop(RDropSettings(weight=2.0))
    first = method.make_optimizer(ours, TrainingConfig(learning_rate=1e-2, weight_decay=0.0))
    second = torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.0)
    inputs = double(num_labels)
    for _ in range(2):
        loss, expected = method.loss(ours, inputs), by_hand(theirs, inputs, 2.0, num_labels)
        torch.testing.assert_close(loss, expected)
        assert (expected - by_hand(theirs, inputs, 0.0, num_labels)).item() > 1e-4
        for optimizer, value in ((first, loss), (second, expected)):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if not name.endswith("key.bias"):  # its gradient is rounding
            torch.testing.assert_close(mine, other, msg=name)


def test_the_sum_of_the_authors_code_grows_with_the_batch():
    model, inputs = masked(2), double()
    losses = {
        (reduction, weight): RDrop(RDropSettings(weight=weight, reduction=reduction)).loss(model, inputs)
        for reduction in ("mean", "sum")
        for weight in (0.0, 1.0)
    }
    mean, total = (losses[name, 1.0] - losses[name, 0.0] for name in ("mean", "sum"))
    torch.testing.assert_close(total, len(inputs["labels"]) * mean)


def test_the_two_passes_have_masks_of_their_own():
    model, inputs = pretrained("bert").model.train(), batch()
    torch.manual_seed(0)
    logits = model(**{key: torch.cat([value, value]) for key, value in inputs.items()}).logits
    one, two = logits.chunk(2)
    assert not torch.equal(one, two)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_without_dropout_is_refused(family):
    loaded = pretrained(family)
    with torch.no_grad():
        torch.manual_seed(0)
        outputs = [loaded.model.train()(**batch()).logits for _ in range(2)]
    assert has_dropout(loaded.model) is not torch.equal(*outputs)
    if family == "llama":
        with pytest.raises(MethodError, match="expected dropout above 0"):
            RDrop().check(loaded, FinetuneConfig())
        with pytest.raises(MethodError, match="expected dropout above 0"):
            RDrop().run(job_of(loaded))
    else:
        RDrop().check(loaded, FinetuneConfig())


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("bart", "dropout"),
        ("bart", "attention_dropout"),
        ("bart", "activation_dropout"),
        ("llama", "attention_dropout"),
    ],
)
def test_dropout_without_a_module_is_found(family, name):
    for p in (0.0, 0.5):
        config = FAMILIES[family]()
        config.dropout = config.attention_dropout = config.activation_dropout = 0.0
        setattr(config, name, p)
        model = AutoModelForSequenceClassification.from_config(config).train()
        assert not any(module.p for module in model.modules() if isinstance(module, torch.nn.Dropout))
        with torch.no_grad():
            torch.manual_seed(0)
            outputs = [model(**batch()).logits for _ in range(2)]
        assert has_dropout(model) is not torch.equal(*outputs)
        assert has_dropout(model) is (p > 0)


@pytest.mark.parametrize("wrong", [{"reduction": "max"}, {"weight": -1.0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError):
        RDropSettings(**wrong)
