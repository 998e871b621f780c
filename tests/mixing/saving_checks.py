"""What the tests of saving share: a saved model, and what has to be the same after loading."""

from __future__ import annotations

import torch
from torch import nn

import agwm
from tests.architectures import text_batch
from tests.mixing.hook_checks import randomize
from tests.tiny_models import tiny_bert


def saved(directory, model=None, **options):
    mixup = agwm.inject(tiny_bert(num_labels=3) if model is None else model, seed=0, **options)
    randomize(mixup)
    mixup.model.eval()
    mixup.save_pretrained(directory)
    return mixup


def logits(model, batch=None):
    with torch.no_grad():
        return model(**(batch or text_batch())).logits


def check_same(loaded, mixup):
    assert loaded.names == mixup.names
    assert (loaded.formula, loaded.alpha_form) == (mixup.formula, mixup.alpha_form)
    state, expected = loaded.model.state_dict(), mixup.model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    for name in mixup.names:
        assert torch.equal(loaded.pretrained[name], mixup.pretrained[name])
        assert loaded.pretrained[name].dtype == mixup.pretrained[name].dtype
        assert torch.equal(loaded.alpha(name), mixup.alpha(name))
    ours, theirs = loaded.attention.state_dict(), mixup.attention.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    flags = [factor.requires_grad for factor in loaded.attention.parameters()]
    assert flags == [factor.requires_grad for factor in mixup.attention.parameters()]


class Plain(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.first, self.second = nn.Linear(3, width), nn.Linear(width, 3)
        self.third = nn.Linear(3, width)
        self.third.weight = self.first.weight
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x):
        return self.norm(self.third(self.second(self.first(x))))


class Halved(agwm.Alpha):
    def create_parameters(self):
        self.a = self.new_factor(0)
        self.register_buffer("factor", torch.full((1, 1), 0.5))

    def factors(self):
        return (self.a, self.factor)
