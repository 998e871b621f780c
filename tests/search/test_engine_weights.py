"""W is moved by the inner optimizer alone, and W0 by nothing."""

from __future__ import annotations

import copy

import pytest
import torch

import agwm
from agwm.errors import ConfigError
from tests.search_runs import Search, tiny_classifier, token_batches, vector_batches
from tests.tiny_models import tiny_bert


@pytest.mark.parametrize("steps", [30, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scheme", ["central", "forward", "explicit"])
def test_outer_steps_leave_weights_alone_for_many_steps(scheme, steps):
    """The watch compares W before and after every outer step; with alpha held still so does a twin."""
    settings = {"inner": vector_batches(7), "outer": vector_batches(5, seed=1), "outer_lr": 0.0}
    runs = []
    for hypergradient in ({"scheme": scheme}, {"order": "first"}):
        torch.manual_seed(0)
        search = Search(
            tiny_classifier(0.1),
            "*weight",
            lr=1e-3,
            train_iters=steps,
            hypergradient=hypergradient,
            **settings,
        )
        start = {name: weight.clone() for name, weight in search.mixup.pretrained.items()}
        pointers = [p.data_ptr() for p in search.model.parameters()]
        after = []
        search.engine.inner.step_after_roll_back = lambda s=search, a=after: a.append(
            all(torch.equal(w, s.last.updated[n]) for n, w in s.weights().items())
        )
        search.run()
        assert after == [True] * steps
        assert [p.data_ptr() for p in search.model.parameters()] == pointers
        for name, weight in search.mixup.pretrained.items():
            assert torch.equal(weight, start[name])
        runs.append(search)
    for name, weight in runs[1].weights().items():
        assert torch.equal(runs[0].weights()[name], weight), name


def test_frozen_alpha_is_plain_finetuning_bit_for_bit():
    """Dropout, shuffling without a generator, clipping: all as in a plain loop."""
    from torch.utils.data import DataLoader

    (batch,) = token_batches(1, size=18)
    rows = [{key: value[i] for key, value in batch.items()} for i in range(18)]
    model = tiny_bert(dropout=0.1)
    plain = copy.deepcopy(model)
    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=0.1)
    step = 0
    while step < 7:
        for batch in DataLoader(rows, batch_size=4, shuffle=True):
            plain(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            if step == 7:
                break
    mixup = agwm.inject(model, alpha="frozen")
    torch.manual_seed(1)
    agwm.build_engine(
        mixup,
        DataLoader(rows, batch_size=4, shuffle=True),
        DataLoader(rows, batch_size=4, shuffle=True),
        torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1),
        torch.optim.AdamW(mixup.attention.parameters(), lr=1e-3),
        train_iters=7,
        gradient_clipping=0.5,
        progress=False,
    ).run()
    expected = dict(plain.named_parameters())
    for name, weight in model.named_parameters():
        assert torch.equal(weight, expected[name]), name
    assert not torch.equal(model.classifier.weight, tiny_bert(dropout=0.1).classifier.weight)


def test_alpha_stays_in_its_range():
    search = Search(
        tiny_classifier(),
        "*weight",
        inner=vector_batches(3),
        outer=vector_batches(3),
        outer_lr=5.0,
        train_iters=20,
    )
    search.run()
    values = torch.cat([factor.flatten() for factor in search.alpha().values()])
    assert values.min() == 0.0 and values.max() == 1.0


def test_validation_changes_neither_weights_nor_masks():
    def validate(engine: agwm.MixupEngine) -> dict[str, float]:
        assert not torch.is_grad_enabled()
        assert not engine.inner.model.training
        return {
            "noise": float(torch.rand(3).sum()),
            "loss": float(engine.inner.model(**token_batches(1)[0]).loss),
        }

    runs = []
    for options in ({}, {"validate": validate, "valid_step": 2}):
        torch.manual_seed(2)
        search = Search(tiny_bert(dropout=0.1), train_iters=5, gradient_accumulation=2, **options)
        search.run()
        assert search.model.training
        runs.append(search)
    assert [record["step"] for record in runs[1].engine.history] == [2, 4]
    for name, weight in runs[0].weights().items():
        assert torch.equal(runs[1].weights()[name], weight), name


def test_validation_hook_of_betty_is_called():
    class MyEngine(agwm.MixupEngine):
        def validation(self):
            return {"step": -1, "seen": self.step}

    search = Search(
        tiny_classifier(), "*weight", inner=vector_batches(2), outer=vector_batches(2), train_iters=4
    )
    search.engine.__class__ = MyEngine
    search.engine.valid_step = 2
    search.run()
    assert [record["seen"] for record in search.engine.history] == [2, 4]


def test_unusable_validation_is_one_clear_line():
    options = {"inner": vector_batches(2), "outer": vector_batches(2), "train_iters": 1, "valid_step": 1}
    with pytest.raises(ConfigError, match="expected a dict of numbers by name, got NoneType"):
        Search(tiny_classifier(), "*weight", validate=lambda engine: None, **options).run()
    with pytest.raises(ConfigError, match="Nothing to validate with"):
        Search(tiny_classifier(), "*weight", **options).engine.validate()
