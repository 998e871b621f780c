"""The finite difference on a part of the inner batch is that of the loss on the part, in float64."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch

from agwm.batch_rows import first_rows
from agwm.errors import ConfigError, HypergradientError
from agwm.hypergradient.settings import Hypergradient
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.passes import finetune_passes, outer_step_passes, search_passes
from benchmarks import oracles
from tests.search_runs import Search, token_batches
from tests.tiny_models import tiny_bert

TOLERANCE = {"central": 5e-8, "forward": 2e-5}
UPDATES = {"optimizer": oracles.adam, "sgd": oracles.plain_sgd}


def on_part(search: Search, moment: oracles.Moment, update, count: int) -> oracles.Weights:
    """Return direct term plus the mixed derivative of the part's loss along the whole step's u."""
    names = list(moment.before)
    weights, alpha = oracles.leaves(moment.before), oracles.leaves(moment.alpha)
    whole = oracles.derivatives(oracles.inner_loss(search.loss, weights, alpha, moment), weights)
    whole = [gradient.detach().requires_grad_() for gradient in whole]
    vector = oracles.outer_slope(search.loss, moment).values()
    step = [
        update(moment.before[name], gradient, moment.groups[name], moment.states[name])
        for name, gradient in zip(names, whole, strict=True)
    ]
    product = sum((w * v).sum() for w, v in zip(step, vector, strict=True))
    direction = torch.autograd.grad(product, whole)
    parts = [({k: v[:count] for k, v in batch.items()}, state) for batch, state in moment.inner]
    loss = sum(search.loss(weights, alpha, part) for part in parts) / len(parts)
    slopes = oracles.derivatives(loss, weights, create_graph=True)
    product = sum((slope * u).sum() for slope, u in zip(slopes, direction, strict=True))
    indirect = dict(zip(alpha, oracles.derivatives(product, alpha), strict=True))
    return {name: term + indirect[name] for name, term in oracles.direct(search.loss, moment).items()}


@pytest.mark.parametrize("scheme", TOLERANCE)
@pytest.mark.parametrize("best_response", UPDATES)
@pytest.mark.parametrize("gas", [1, 2])
def test_part_of_the_batch_is_differentiated(scheme, best_response, gas):
    torch.manual_seed(5)
    settings = {"scheme": scheme, "best_response": best_response, "batch_fraction": 0.3}
    search = Search(
        tiny_bert(dropout=0.1, dtype=torch.float64),
        train_iters=3,
        gradient_accumulation=gas,
        hypergradient=settings,
    )
    seen = []
    own = search.engine.inner.training_step
    search.engine.inner.training_step = lambda batch: seen.append(len(batch["labels"])) or own(batch)
    # the watch keeps every call of an inner step, and no other happens before its optimizer steps
    moments = search.run()
    assert seen == ([4] * gas + [2] * (2 * gas)) * 3
    for number, moment in enumerate(moments):
        assert [len(batch["labels"]) for batch, _ in moment.inner] == [4] * gas
        expected = on_part(search, moment, UPDATES[best_response], 2)
        assert oracles.relative_error(moment.gradient, expected) < TOLERANCE[scheme]
        if number or best_response == "sgd":  # Adam's first step has next to no derivative
            whole = on_part(search, moment, UPDATES[best_response], 4)
            assert oracles.relative_error(moment.gradient, whole) > 1e-4


@pytest.mark.parametrize("scheme", TOLERANCE)
def test_reference_on_the_whole_batch_is_the_unrolled_step(scheme):
    search = Search(train_iters=3, hypergradient={"scheme": scheme, "batch_fraction": 1.0})
    for moment in search.run():
        unrolled = oracles.unrolled(search.loss, moment, oracles.adam)
        assert oracles.relative_error(on_part(search, moment, oracles.adam, 4), unrolled) < 1e-9


@pytest.mark.parametrize("scheme", TOLERANCE)
def test_half_of_a_batch_of_doubles_stands_for_the_whole(scheme):
    """A mean over examples needs no scaling: the part estimates the whole batch's derivative itself."""
    batches = [
        {k: torch.cat([v[:2], v[:2]]) for k, v in batch.items()} for batch in token_batches(3, size=4)
    ]
    runs = [
        Search(
            inner=batches,
            train_iters=3,
            hypergradient={"scheme": scheme, "best_response": "sgd", "batch_fraction": fraction},
        ).run()
        for fraction in (1.0, 0.5)
    ]
    for whole, half in zip(*runs, strict=True):
        assert oracles.relative_error(half.gradient, whole.gradient) < TOLERANCE[scheme]


def test_weights_are_restored_bit_for_bit():
    settings = {"scheme": "forward", "batch_fraction": 0.5}
    search = Search(train_iters=5, outer_lr=0.0, hypergradient=settings)
    twin = Search(train_iters=5, outer_lr=0.0, hypergradient={"order": "first"})
    search.run()  # the watch compares W before and after every outer step
    twin.run()
    for name, weight in search.weights().items():
        assert torch.equal(twin.weights()[name], weight)


@pytest.mark.parametrize(
    ("fraction", "rows", "count"), [(0.5, 4, 2), (0.5, 5, 3), (0.01, 4, 1), (0.07, 100, 7), (1.0, 3, 3)]
)
def test_first_rows_of_nested_batches(fraction, rows, count):
    pair = namedtuple("pair", ("x", "y"))
    x = torch.arange(2 * rows).reshape(rows, 2)
    part = first_rows({"a": x, "b": [x, (None, {"c": x[:, 0]})], "d": pair(x, x)}, fraction)
    assert torch.equal(part["a"], x[:count]) and part["a"].data_ptr() == x.data_ptr()
    assert part["b"][1][0] is None and torch.equal(part["b"][1][1]["c"], x[:count, 0])
    assert isinstance(part["d"], pair) and torch.equal(part["d"].y, x[:count])
    assert torch.equal(first_rows(x, fraction), x[:count])


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        ({"x": torch.ones(3, 2), "y": torch.ones(2)}, "first dimensions 2, 3"),
        ([torch.ones(3), "three texts"], "str"),
        ({"x": torch.ones(3), "weight": torch.tensor(1.0)}, r"shape \(\)"),
        ({"x": torch.ones(3), "epoch": 4}, "int"),
        ({}, "nothing"),
        (object(), "object"),
    ],
)
def test_batch_without_parts_is_one_clear_line(batch, got):
    with pytest.raises(HypergradientError, match=f"part of a batch: .*{got}.*batch_fraction"):
        first_rows(batch, 0.5)
    assert first_rows(batch, 1.0) is batch


def test_batch_without_parts_stops_the_search():
    batches = [{**batch, "epoch": 3} for batch in token_batches(2)]

    def run(fraction: float) -> None:
        search = Search(inner=batches, train_iters=1, hypergradient={"batch_fraction": fraction})
        own = search.engine.inner.loss
        search.engine.inner.loss = lambda batch: own({k: v for k, v in batch.items() if k != "epoch"})
        search.run()

    run(1.0)
    with pytest.raises(HypergradientError, match="batch_fraction to 1"):
        run(0.5)


@pytest.mark.parametrize("value", [0, -0.5, 1.5, float("nan"), "half", True, None])
def test_fraction_out_of_range_is_an_error(value):
    with pytest.raises(ConfigError, match="batch_fraction is out of range"):
        Hypergradient(batch_fraction=value)


def test_passes_count_the_part():
    for scheme, whole in (("central", 3), ("forward", 2)):
        assert outer_step_passes(Hypergradient(scheme=scheme)) == whole
        assert outer_step_passes(Hypergradient(scheme=scheme, batch_fraction=0.25)) == 1.5
    assert outer_step_passes(Hypergradient(order="first", batch_fraction=0.25)) == 1
    config = FinetuneConfig(hypergradient=Hypergradient(batch_fraction=0.3))
    assert search_passes(config, 45) == 45 + 72
    assert search_passes(config, 3) == 3 + 5  # 4.8, rounded up
    assert isinstance(finetune_passes(config, 300), int)
