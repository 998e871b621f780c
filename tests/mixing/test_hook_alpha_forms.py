"""Forms of alpha: what is drawn, what it multiplies, and forms of the user's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import agwm
from agwm.errors import ConfigError, ShapeError
from agwm.mixing.alpha import ALPHA_FORMS
from tests.architectures import ARCHITECTURES, text_batch
from tests.mixing.hook_checks import randomize
from tests.tiny_models import tiny_bert

NUM_FACTORS = {  # of a weight of 2 x 3, and of a stack of 4 such
    "rank1": (5, 20),
    "full": (6, 24),
    "row": (2, 8),
    "column": (3, 12),
    "scalar": (1, 4),
    "frozen": (1, 1),
}
INTERMEDIATE = "bert.encoder.layer.0.intermediate.dense.weight"


def build(form, shape, num_batch_dims=0, **options):
    return ALPHA_FORMS[form](torch.Size(shape), num_batch_dims, **options)


@pytest.mark.parametrize("form", ALPHA_FORMS)
def test_number_of_attention_parameters(form):
    of_matrix = sum(p.numel() for p in build(form, (2, 3)).parameters())
    of_stack = sum(p.numel() for p in build(form, (4, 2, 3), 1).parameters())
    assert (of_matrix, of_stack) == NUM_FACTORS[form]


@pytest.mark.parametrize("form", ALPHA_FORMS)
@pytest.mark.parametrize(("shape", "num_batch_dims"), [((6, 5), 0), ((3, 6, 5), 1), ((6, 2, 5), 0)])
def test_initial_values_are_near_one_and_in_range(form, shape, num_batch_dims):
    alpha = build(form, shape, num_batch_dims, init_std=0.05)
    value = alpha()
    assert value.shape == shape and value.dtype == torch.float32
    for parameter in alpha.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.min() >= 0.5 and parameter.max() <= 1
    assert (value.min() < 1) == (form != "frozen") or form == "scalar"


def test_spread_of_the_initial_values():
    factor = build("full", (400, 400), init_std=0.01).a.detach()
    below = factor[factor < 1]
    assert 0.48 < below.numel() / factor.numel() < 0.52
    torch.testing.assert_close((below - 1).square().mean().sqrt(), torch.tensor(0.01), rtol=0.02, atol=0)
    assert torch.equal(build("full", (4, 4), init_std=0).a, torch.ones(4, 4))


@pytest.mark.parametrize("form", ALPHA_FORMS)
def test_alpha_is_constant_where_the_form_says(form):
    value = build(form, (4, 6, 5), 1, init_std=0.3)().detach()
    rows_differ = not torch.equal(value, value[:, :1].expand_as(value))
    columns_differ = not torch.equal(value, value[:, :, :1].expand_as(value))
    matrices_differ = not torch.equal(value, value[:1].expand_as(value))
    assert rows_differ == (form in ("rank1", "full", "row"))
    assert columns_differ == (form in ("rank1", "full", "column"))
    assert matrices_differ == (form != "frozen")


@pytest.mark.parametrize("form", ALPHA_FORMS)
def test_model_sees_the_mixture_of_every_form(form):
    model = tiny_bert(num_labels=3).eval()
    mixup = agwm.inject(model, alpha=form, seed=0)
    randomize(mixup)
    assert mixup.alpha_form == form
    task = dict(model.named_parameters())
    twin = tiny_bert(num_labels=3).eval()
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if name in mixup.names:
                alpha = mixup.alpha(name)
                parameter.copy_(alpha * task[name] + (1 - alpha) * mixup.pretrained[name])
    ours, theirs = model(**text_batch()), twin(**text_batch())
    torch.testing.assert_close(ours.logits, theirs.logits)
    ours.loss.backward()
    theirs.loss.backward()
    reference = dict(twin.named_parameters())[INTERMEDIATE].grad
    torch.testing.assert_close(task[INTERMEDIATE].grad, mixup.alpha(INTERMEDIATE) * reference)
    assert mixup.attention.is_trainable == (form != "frozen")
    if form == "full":
        field = reference * (task[INTERMEDIATE] - mixup.pretrained[INTERMEDIATE])
        torch.testing.assert_close(mixup.attention[INTERMEDIATE].a.grad, field)


def test_frozen_form_is_the_plain_model():
    model = tiny_bert(num_labels=3).eval()
    mixup = agwm.inject(model, alpha="frozen")
    randomize(mixup)
    twin = tiny_bert(num_labels=3).eval()
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model(**text_batch()).logits, twin(**text_batch()).logits)
    assert torch.equal(mixup.alpha(INTERMEDIATE), torch.ones(32, 16))


def factors(mixup):
    return [factor.detach().clone() for factor in mixup.attention.parameters()]


def is_same(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_seed_decides_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    first, second = (factors(agwm.inject(tiny_bert(), seed=3)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert is_same(first, second)
    assert not is_same(first, factors(agwm.inject(tiny_bert(), seed=4)))


def test_without_a_seed_the_global_generator_decides():
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(factors(agwm.inject(tiny_bert())))
    assert is_same(drawn[0], drawn[1])
    assert not is_same(drawn[0], drawn[2])


class TwoRanks(agwm.Alpha):
    """(a b^T + c d^T) / 2, a form that agwm has not."""

    def create_parameters(self):
        self.a, self.b = self.new_factor(0), self.new_factor(1)
        self.c, self.d = self.new_factor(0), self.new_factor(1)

    def factors(self):
        return ((self.a * self.b + self.c * self.d) / 2,)


class OneRowTooMany(agwm.Alpha):
    def create_parameters(self):
        self.a = nn.Parameter(torch.ones(self.shape[0] + 1, 1))

    def factors(self):
        return (self.a,)


class NoDimensions(OneRowTooMany):
    def create_parameters(self):
        self.a = nn.Parameter(torch.ones(self.shape[1]))


def test_own_form():
    model = tiny_bert(num_labels=3).eval()
    mixup = agwm.inject(model, alpha=TwoRanks, seed=0)
    randomize(mixup)
    own = mixup.attention[INTERMEDIATE]
    expected = (own.a @ own.b + own.c @ own.d) / 2
    torch.testing.assert_close(mixup.alpha(INTERMEDIATE), expected)
    assert mixup.alpha_form == "TwoRanks"
    model(**text_batch()).loss.backward()
    assert all(factor.grad.norm() > 0 for factor in own.parameters())
    mixed = model.bert.encoder.layer[0].intermediate.dense.weight.detach().clone()
    mixup.merge()
    assert torch.equal(model.bert.encoder.layer[0].intermediate.dense.weight, mixed)


@pytest.mark.parametrize("form", [OneRowTooMany, NoDimensions])
def test_own_form_of_a_wrong_shape_is_refused(form):
    model = tiny_bert()
    with pytest.raises(ShapeError, match=r"Factor of alpha has the wrong shape for 'bert\."):
        agwm.inject(model, alpha=form)
    assert agwm.mixup_of(model) is None
    assert type(model.bert.pooler.dense) is nn.Linear


@pytest.mark.parametrize("form", ["rank2", "Rank1", nn.Linear, 3, None])
def test_unknown_form_is_refused(form):
    with pytest.raises(ConfigError, match="alpha is unknown: expected one of rank1, full"):
        agwm.inject(tiny_bert(), alpha=form)


@pytest.mark.parametrize("form", ALPHA_FORMS)
def test_every_form_mixes_stacked_experts(form):
    architecture = ARCHITECTURES["mixtral"]
    model = architecture.build().eval()
    with torch.no_grad():
        before = model(**architecture.batch()).logits
        mixup = agwm.inject(model, alpha=form, seed=0)
        assert torch.equal(model(**architecture.batch()).logits, before)
        randomize(mixup)
        mixed = model(**architecture.batch()).logits
        assert not torch.equal(mixed, before)
        assert torch.equal(mixup.merge()(**architecture.batch()).logits, mixed)
