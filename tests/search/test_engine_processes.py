"""Several processes give what one gives on the global batch, however its examples are shared out."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from agwm.errors import ProcessError
from agwm.processes import average_gradients_, num_processes, process_number
from benchmarks.oracles import relative_error
from tests.search_runs import Batch, Search, halves, token_batches
from tests.several_processes import run_together

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")

STEPS = 4
# Examples of each process in the batches of an epoch; a process for which none is left has fewer batches.
SHARES = {
    "even": [(2, 2)] * 4,
    "uneven": [(3, 1), (1, 3), (3, 1), (2, 2)],
    "fewer": [(3, 1), (3, 1), (4, 0)],
    "three": [(2, 1, 1), (1, 2, 1), (1, 3, 0)],
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "explicit": ("uneven", {"hypergradient": {"scheme": "explicit"}}),
    "central": ("uneven", {"hypergradient": {"best_response": "identity", "scheme": "central"}}),
    "fewer": ("fewer", {"hypergradient": {"scheme": "explicit"}}),
    "sgd": ("fewer", {"hypergradient": {"best_response": "sgd", "scheme": "central"}}),
    "window": ("uneven", {"hypergradient": {"scheme": "explicit"}, "unroll_steps": 2}),
    "accumulated": ("uneven", {"hypergradient": {"scheme": "central"}, "gradient_accumulation": 2}),
    "rolled_back": ("uneven", {"hypergradient": {"scheme": "explicit"}, "roll_back": True}),
    "forward": ("even", {"hypergradient": {"scheme": "forward"}}),
}
THREE: dict[str, tuple[str, dict[str, Any]]] = {
    "three": ("three", {"hypergradient": {"scheme": "central"}, "gradient_accumulation": 2}),
    "three_explicit": ("three", {"hypergradient": {"scheme": "explicit"}}),
}


def whole_batches(seed: int, shares: list[tuple[int, ...]]) -> list[Batch]:
    return token_batches(len(shares), size=4, seed=seed)


def parts(seed: int, shares: list[tuple[int, ...]], number: int) -> list[Batch]:
    """Return the batches of one process."""
    found = []
    for batch, counts in zip(whole_batches(seed, shares), shares, strict=True):
        start, count = sum(counts[:number]), counts[number]
        if count:
            found.append({key: value[start : start + count] for key, value in batch.items()})
    return found


def search_of(inner: list[Batch], outer: list[Batch], options: dict[str, Any]) -> Search:
    return Search(inner=inner, outer=outer, train_iters=STEPS, gradient_clipping=0.1, **options)


def outcome(search: Search) -> dict[str, Any]:
    search.run()
    gradients = [moment.gradient for moment in search.moments]
    return {"gradients": gradients, "weights": search.weights(), "alpha": search.alpha()}


def work(folder: str, three: str) -> None:
    """Make all searches as one of several processes."""
    number = process_number()
    averages()
    with pytest.raises(ProcessError, match="checkpoint is for a run in one process: expected 1 process"):
        search_of(token_batches(1), token_batches(1), {"checkpoint": f"{folder}/checkpoint"})
    for name, (shares, options) in (THREE if three else CASES).items():
        own = SHARES[shares]
        search = search_of(parts(0, own, number), parts(1, own, number), options)
        torch.save(outcome(search), f"{folder}/{name}.{number}.pt")


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_processes_give_what_one_gives_on_the_global_batch(size, tmp_path):
    cases = CASES if size == 2 else THREE
    three = "three" if size == 3 else ""
    run_together("tests.search.test_engine_processes:work", size, str(tmp_path), three)
    for name, (shares, options) in cases.items():
        own = SHARES[shares]
        one = outcome(search_of(whole_batches(0, own), whole_batches(1, own), options))
        several = [
            torch.load(tmp_path / f"{name}.{number}.pt", weights_only=True) for number in range(size)
        ]
        assert len(one["gradients"]) == len(several[0]["gradients"]) >= 2
        for place, expected in enumerate(one["gradients"]):
            for found in several:
                # rounding, which a forward difference magnifies
                limit = 1e-4 if name == "forward" else 1e-6
                assert relative_error(found["gradients"][place], expected) < limit, name
        for part in ("weights", "alpha"):
            for key, tensor in one[part].items():
                assert all(torch.equal(found[part][key], several[0][part][key]) for found in several)
                torch.testing.assert_close(several[0][part][key], tensor, rtol=1e-5, atol=1e-7)


def test_the_search_depends_on_which_example_counts_how_much():
    """The case that must fail: means of uneven parts, averaged, are another gradient."""
    batches, options = whole_batches(0, SHARES["even"]), {"hypergradient": {"scheme": "explicit"}}
    one = outcome(search_of(batches, batches, options))
    uneven = [{k: torch.cat([v[:3], v[3:], v[3:], v[3:]]) for k, v in batch.items()} for batch in batches]
    other = outcome(search_of(uneven, uneven, options))
    assert relative_error(other["gradients"][0], one["gradients"][0]) > 1e-2
    assert len(halves(batches[0])) == 2


def averages() -> None:
    """Average gradients of which some are missing: one that a process lacks counts as zero."""
    if num_processes() > 2:
        return
    unused = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]
    unused[0].grad = torch.full((2,), 2.0)
    unused[1].grad = torch.full((2,), 4.0) if process_number() == 1 else None
    average_gradients_(unused)
    assert unused[0].grad.tolist() == [2.0, 2.0]
    assert unused[1].grad.tolist() == [2.0, 2.0]
    assert unused[2].grad is None
