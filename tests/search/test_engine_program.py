"""The shortest full program, and what a run shows."""

from __future__ import annotations

import torch
from torch.optim import AdamW

import agwm
from tests.search_runs import Search, token_batches
from tests.tiny_models import tiny_bert


def test_shortest_full_program():
    model = tiny_bert()
    inner_loader, outer_loader = token_batches(4), token_batches(2, seed=1)
    mixup = agwm.inject(model)
    engine = agwm.build_engine(
        mixup,
        inner_loader,
        outer_loader,
        inner_optimizer=AdamW(model.parameters(), lr=2e-5),
        outer_optimizer=AdamW(mixup.attention.parameters(), lr=2e-3),
        train_iters=20,
        hypergradient={"scheme": "central", "best_response": "identity", "epsilon": 0.01},
    )
    before = [parameter.detach().clone() for parameter in mixup.attention.parameters()]
    engine.run()
    assert isinstance(engine.inner, agwm.TaskWeightProblem) and isinstance(
        engine.outer, agwm.AttentionProblem
    )
    assert engine.step == 20
    assert any(not torch.equal(a, b) for a, b in zip(before, mixup.attention.parameters(), strict=True))


def test_run_prints_nothing(capsys):
    search = Search(train_iters=2)
    search.run()
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == ""


def test_bar_tells_phase_step_and_losses(capsys):
    # tqdm redraws ten times a second
    search = Search(train_iters=15, phase="search 1/2")
    search.engine.progress = True
    search.run()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "search 1/2" in shown.err
    assert "/15" in shown.err
    assert "inner=" in shown.err and "outer=" in shown.err
