"""A search whose batches go through the model in micro-batches has the whole batch's hypergradient."""

from __future__ import annotations

import gc
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import agwm
from agwm.errors import DataError
from agwm.search.micro_passes import MicroPasses
from benchmarks import oracles
from tests.search_runs import Search, TinyClassifier, token_batches, vector_batches
from tests.tiny_models import tiny_bert

SETTINGS = {
    "explicit": {"scheme": "explicit"},
    "sgd": {"scheme": "explicit", "best_response": "sgd"},
    "forward": {"scheme": "forward"},
    "central": {"scheme": "central", "batch_fraction": 0.8},
    "first": {"order": "first"},
}
SIZE = 5  # examples of a batch: micro-batches of different size


def cut(search: Search, count: int) -> Search:
    for problem in (search.engine.inner, search.engine.outer):
        problem.num_micro_batches = count
    return search


def gradients(search: Search) -> list[oracles.Weights]:
    """Return the whole hypergradient of each outer step; the watch of the inner step counts passes."""
    return [moment.gradient for moment in search.run()]


def searched(count: int, model: nn.Module | None = None, **options) -> tuple[Search, list]:
    torch.manual_seed(3)
    given = {"inner": token_batches(4, SIZE), "outer": token_batches(3, SIZE, seed=1), "train_iters": 4}
    search = cut(Search(model, **{**given, **options}), count)
    return search, gradients(search)


@pytest.mark.parametrize("options", [{}, {"unroll_steps": 2}, {"roll_back": True}], ids=str)
@pytest.mark.parametrize("name", SETTINGS)
def test_hypergradient_is_that_of_the_whole_batch(name, options):
    whole, expected = searched(1, hypergradient=SETTINGS[name], **options)
    for count in (2,) if options else (3, 9):
        search, found = searched(count, hypergradient=SETTINGS[name], **options)
        assert len(found) == len(expected) >= 2
        for ours, theirs in zip(found, expected, strict=True):
            # a difference divides the rounding of its passes by epsilon
            bound = 1e-6 if name in ("forward", "central") else 1e-10
            assert oracles.relative_error(ours, theirs) < bound
        assert oracles.relative_error(search.weights(), whole.weights()) < 1e-10


def test_micro_batches_count_by_their_examples(monkeypatch):
    """The case that must fail: micro-batches of two and of three examples that weigh alike."""
    _, expected = searched(1)
    cutting = agwm.search.micro_passes.micro_batches
    monkeypatch.setattr(
        "agwm.search.micro_passes.micro_batches",
        lambda batch, count: [(part, 1 / count) for part, _ in cutting(batch, count)],
    )
    _, found = searched(2)
    assert oracles.relative_error(found[0], expected[0]) > 1e-3


class Normed(TinyClassifier):
    """A classifier with everything that a pass reads or changes beside W."""

    def __init__(self) -> None:
        super().__init__(0.4)
        self.norm = nn.BatchNorm1d(7)
        self.last = spectral_norm(self.last)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x, labels):
        noise = 0.1 * torch.rand(x.shape, generator=self.generator, dtype=x.dtype)
        hidden = self.dropout(torch.tanh(self.norm(self.first(x + noise))) + self.frozen)
        loss = nn.functional.cross_entropy(self.last(hidden), labels)
        return SimpleNamespace(loss=loss)


@pytest.mark.parametrize("name", ["explicit", "forward", "first"])
@pytest.mark.parametrize("kind", ["bert", "normed"])
def test_a_pass_that_is_made_again_sees_what_the_first_one_saw(kind, name, monkeypatch):
    """Dropout masks, generators of one's own and buffers: as if the graph of all had been kept."""

    def run():
        torch.manual_seed(0)
        if kind == "bert":
            model, options = tiny_bert(dropout=0.3, dtype=torch.float64), {}
        else:
            model = Normed().double()
            options = {"inner": vector_batches(4, SIZE), "outer": vector_batches(3, SIZE, seed=1)}
            options["include"] = ["first.weight"]
        search, found = searched(2, model, hypergradient=SETTINGS[name], **options)
        return found, search.weights(), dict(model.named_buffers())

    again = run()
    monkeypatch.setattr(MicroPasses, "_checkpointed", lambda self, step, part: step(part))
    for ours, kept in zip(again, run(), strict=True):
        torch.testing.assert_close(ours, kept, rtol=1e-9, atol=1e-12)


def test_without_replay_the_masks_would_differ(monkeypatch):
    """The case that must fail for the test above."""

    def gradient():
        model = tiny_bert(dropout=0.3, dtype=torch.float64)
        return searched(2, model, hypergradient=SETTINGS["explicit"])[1][0]

    expected = gradient()
    monkeypatch.setattr("agwm.search.micro_passes.replay", lambda state: nullcontext())
    assert oracles.relative_error(gradient(), expected) > 1e-3


class _Peak:
    """Largest number of saved entries of autograd that are alive at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def pack(self, tensor):
        held = _Held(self, tensor)
        self.now += held.size
        self.most = max(self.most, self.now)
        return held

    @staticmethod
    def unpack(held):
        return held.tensor


class _Held:
    def __init__(self, peak, tensor):
        self.peak, self.tensor = peak, tensor
        self.size = 0 if isinstance(tensor, nn.Parameter) else tensor.numel()

    def __del__(self):
        self.peak.now -= self.size


class Wide(nn.Module):
    """Activations that are far larger than W."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 300), nn.Linear(300, 3)

    def forward(self, x, labels):
        loss = nn.functional.cross_entropy(self.last(torch.tanh(self.first(x))), labels)
        return SimpleNamespace(loss=loss)


@pytest.mark.parametrize("name", ["explicit", "central"])
def test_memory_holds_the_activations_of_one_micro_batch(name):
    most = {}
    for count in (1, 4):
        torch.manual_seed(0)
        search = Search(
            Wide().double(),
            inner=vector_batches(2, 400),
            outer=vector_batches(2, 400),
            train_iters=2,
            hypergradient=SETTINGS[name],
        )
        peak = _Peak()
        gc.collect()
        with torch.autograd.graph.saved_tensors_hooks(peak.pack, peak.unpack):
            cut(search, count).run()
        most[count] = peak.most
    assert most[4] < 0.35 * most[1]


class Named(agwm.TaskWeightProblem):
    def training_step(self, batch):
        return {"loss": super().training_step(batch), "examples": len(batch["labels"]), "note": "as it is"}


def test_numbers_that_a_step_returns_are_means_over_examples():
    search, _ = searched(2, inner_problem=Named, inner=token_batches(1, 5))
    _, numbers = search.engine.inner.get_loss(token_batches(1, 5)[0])
    assert numbers["examples"] == pytest.approx(2 * 0.4 + 3 * 0.6) and numbers["note"] == "as it is"


def test_batch_that_cannot_be_cut_is_one_line():
    with pytest.raises(DataError, match=r"got int\. Set gradient_accumulation to 1\."):
        searched(2, inner=[{**batch, "epoch": 3} for batch in token_batches(2)])
