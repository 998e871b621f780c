"""Bytes are counted as torch's allocator counts them, and every phase keeps within its copies of W."""

from __future__ import annotations

import dataclasses
import functools
import gc
import json

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import live_bytes, memory, models, timing, variants

# Bytes per parameter in float32, f being the part of W that is mixed: W, W0 and two moments are there all
# the time. Then: gradient, and the mixed weights that backward needs; with an indirect term, W before the
# step as well; v; u.
BETWEEN = (12.0, 4.0)
BUDGET = {
    "agwm, forward scheme": {"inner step": (20, 8), "outer step": (24, 8), "finite difference": (28, 8)},
    "agwm, central scheme": {"inner step": (20, 8), "outer step": (24, 8), "finite difference": (28, 8)},
    "agwm, first order": {"inner step": (16, 8), "outer step": (16, 8)},
    "agwm, final stage": {"inner step": (16, 8)},
}
PAIRS = 12.0  # of each number in alpha: itself and two moments


@pytest.fixture(scope="module", autouse=True)
def collector():
    """Spare the collector what was there before: a measurement collects three times."""
    with timing.spared_collector():
        yield


@pytest.fixture(scope="module")
def small():
    """A size at which activations are little beside the weights."""
    return models.Size(layers=2, hidden=96, heads=4, vocabulary=64, batch=1, length=8)


@pytest.fixture(scope="module")
def kinds(small):
    return {kind.name: kind for kind in variants.kinds(small, models.CPU)}


@pytest.fixture(scope="module")
def measure(kinds):
    """Measure a kind, once for all tests."""
    return functools.cache(lambda name: memory.measure_kind(kinds[name], models.CPU))


def allocator_peak(step, path):
    """Return the peak of a step by the allocator's own record, beyond what was there."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    record.export_chrome_trace(str(path))
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    live = peak = 0
    for event in sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"]):
        live += event["args"]["Bytes"]
        peak = max(peak, live)
    return peak


def test_counter_agrees_with_the_allocator(kinds, tmp_path):
    with live_bytes.CpuBytes() as counter:
        variant = kinds["vanilla step"].build()
        variant.step()
        gc.collect()
        before = counter.live
        counter.restart()
        variant.step()
        peak = counter.peak - before
    assert peak > 4 * sum(p.numel() for p in variant.model.parameters())
    assert peak == pytest.approx(allocator_peak(variant.step, tmp_path / "trace.json"), rel=0.01)


def test_counter_forgets_what_died_and_counts_a_storage_once():
    with live_bytes.CpuBytes() as counter:
        first = torch.ones(100)
        view = first.view(10, 10)
        assert counter.live == 400
        del first
        assert counter.live == 400
        view = view + 1
        assert (counter.live, counter.peak) == (400, 800)
        counter.restart()
        assert counter.peak == 400


@pytest.mark.parametrize("name", [*BUDGET, "stock Betty, darts, roll-back"])
def test_held_bytes_are_weights_copies_and_moments(measure, small, name):
    measured = measure(name)
    number, tensors = measured["parameters"], len(list(small.model().parameters()))
    mixed = sum(p.numel() for n, p in small.model().named_parameters() if ".layer." in n and p.dim() == 2)
    mixed += small.hidden**2  # of the pooler
    between, updated = measured["between steps"], measured["when W is updated"]
    for held in (between, updated):
        assert (held["weights"], held["W0"]) == (4 * number, 4 * mixed)
        assert held["moments"] == 8 * number + 4 * tensors  # and the count of steps of each
        assert abs(held["hidden"]) < 0.1 * number
    assert (between["gradients"], updated["gradients"]) == (0, 4 * number)
    assert between["kept by the problems"] < 0.2 * number
    kept = {"first": 0, "final": 0, "roll-back": 4 + 8}
    copies = next((bytes_ for word, bytes_ in kept.items() if word in name), 4)
    assert updated["kept by the problems"] == pytest.approx(copies * number, abs=0.3 * number)


@pytest.mark.parametrize("name", BUDGET)
def test_phases_stay_within_their_copies_of_the_weights(measure, small, name):
    measured = measure(name)
    number, held = measured["parameters"], measured["between steps"]
    share = held["W0"] / held["weights"]
    largest = 4 * 4 * small.hidden**2  # an update works on one weight at a time, in two buffers
    beside = held["alpha"] + held["batches"] + held["kept by the problems"] + 3 * largest
    bare = sum(held[kind] for kind in ("weights", "W0", "moments"))
    assert bare / number == pytest.approx(BETWEEN[0] + BETWEEN[1] * share, rel=0.01)
    peaks = {phase: peak for phase, peak in measured["peaks"].items() if phase != "between steps"}
    assert set(peaks) == set(BUDGET[name])
    for phase, (whole, of_mixed) in BUDGET[name].items():
        limit = whole + of_mixed * share
        assert limit - 8 < peaks[phase] / number < limit + beside / number + 0.5, phase


def test_a_leak_is_noticed(kinds, measure):
    kept = []
    plain = kinds["agwm, first order"]

    def build():
        variant = plain.build()

        def step():
            variant.step()
            kept.append([p.detach().clone() for p in variant.model.parameters()])

        return dataclasses.replace(variant, step=step)

    tight = measure(plain.name)
    leaking = memory.measure_kind(dataclasses.replace(plain, build=build), models.CPU, steps=3)
    number = tight["parameters"]
    assert abs(tight["between steps"]["hidden"]) < 0.05 * number
    assert leaking["between steps"]["hidden"] == pytest.approx(3 * 4 * number, rel=0.02)
    assert leaking["peaks"]["between steps"] > tight["peaks"]["between steps"] + 2 * 4 * number * 0.99


def test_ratio_is_to_vanilla_weights_gradients_and_moments(small):
    names = ["vanilla step", "agwm, forward scheme"]
    vanilla, forward = memory.measure_memory(small, models.CPU, names)
    number = vanilla["parameters"]
    assert vanilla["persistent_ratio"] == pytest.approx(1.0, abs=0.02)
    mixed = forward["between steps"]["W0"] / (4 * number)
    assert forward["persistent_ratio"] == pytest.approx((20 + 4 * mixed) / 16, abs=0.03)
    assert set(forward["bytes_per_parameter"]) == set(memory.PHASES)
    assert forward["bytes_per_parameter"]["between steps"] == pytest.approx(12 + 4 * mixed, abs=0.5)
