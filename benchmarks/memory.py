"""Memory of each variant: what it holds from step to step, by kind, and the peak of each phase.

Held bytes are unique storages that can be reached from model, optimizers, attention parameters and the
problems of the engine. What is live beside them is held by something hidden, and is listed as such.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor

from benchmarks.intercept import replaced_hypergradient, swapped
from benchmarks.live_bytes import CpuBytes, CudaBytes, live_bytes
from benchmarks.models import Machine, Size
from benchmarks.timing import spared_collector
from benchmarks.variants import VANILLA, Kind, Variant, kinds

__all__ = ["HELD", "PHASES", "held_bytes", "measure_kind", "measure_memory", "tensors_in"]

HELD = ("weights", "W0", "gradients", "moments", "alpha", "batches", "kept by the problems")
PHASES = ("between steps", "inner step", "outer step", "finite difference")
Counter = CpuBytes | CudaBytes


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested mappings, sequences and dataclasses, gradients among them."""
    if isinstance(value, Tensor):
        yield value
        if value.is_leaf and value.grad is not None:
            yield value.grad
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tensors_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value):
            yield from tensors_in(getattr(value, entry.name))


def _states(optimizer: Any) -> Any:
    return () if optimizer is None else dict(optimizer.state)


def held_bytes(variant: Variant) -> dict[str, int]:
    """Return the bytes that can be reached from a variant, each storage counted once.

    Args:
        variant: What is measured.

    Returns:
        Bytes by kind, the kinds of ``HELD``. Where two hold one storage, the first has it.
    """
    parameters = list(variant.model.parameters())
    attention = [] if variant.attention is None else list(variant.attention.parameters())
    problems = [] if variant.engine is None else variant.engine.problems
    weights = [parameter.detach() for parameter in parameters]
    sources: dict[str, Any] = {
        "weights": weights,
        "W0": list(variant.pretrained),
        "gradients": [parameter.grad for parameter in parameters],
        "moments": _states(variant.optimizer),
        "alpha": [attention, _states(variant.outer_optimizer)],
        "batches": list(variant.batches),
        "kept by the problems": [[vars(problem) for problem in problems], list(variant.model.buffers())],
    }
    seen: set[int] = set()
    held = dict.fromkeys(HELD, 0)
    for kind, source in sources.items():
        for tensor in tensors_in(source):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                held[kind] += storage.nbytes()
    return held


class _Phases:
    """Peak of each phase of a step: all bytes that were live at once."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.peaks: dict[str, int] = {}
        self._present = "inner step"

    def enter(self, phase: str) -> None:
        """End the present phase and begin another."""
        self.peaks[self._present] = max(self.peaks.get(self._present, 0), self.counter.peak)
        self._present = phase
        self.counter.restart()


@contextmanager
def _watched(variant: Variant, phases: _Phases) -> Iterator[None]:
    """Tell the phases apart: the outer step begins with its loss, the difference with its call."""
    if variant.engine is None:
        yield
        return
    outer = variant.engine.outer
    outer_step = outer.training_step

    def training_step(batch: Any) -> Any:
        phases.enter("outer step")
        return outer_step(batch)

    def wrap(own: Callable[..., Any]) -> Callable[..., Any]:
        def finite_difference(*args: Any, **kwargs: Any) -> Any:
            phases.enter("finite difference")
            try:
                return own(*args, **kwargs)
            finally:
                phases.enter("outer step")

        return finite_difference

    with swapped(outer, "training_step", training_step), replaced_hypergradient(variant, wrap):
        yield


def _one_step(variant: Variant, counter: Counter) -> dict[str, Any]:
    """Do one step; return the peaks of its phases and what is held when W has been updated."""
    inside: list[dict[str, int]] = []

    def after_inner_step(*_: Any) -> None:
        if not inside:  # a roll-back steps twice
            held = held_bytes(variant)
            inside.append({**held, "hidden": counter.live - sum(held.values())})

    handle = variant.optimizer.register_step_post_hook(after_inner_step)
    phases = _Phases(counter)
    gc.collect()
    before = counter.live
    counter.restart()
    try:
        with _watched(variant, phases):
            variant.step()
            phases.enter("end")
    finally:
        handle.remove()
    return {"peaks": {"between steps": before, **phases.peaks}, "when W is updated": inside[0]}


def measure_kind(kind: Kind, machine: Machine, steps: int = 2) -> dict[str, Any]:
    """Build one variant under a counter and measure its last step.

    Args:
        kind: What to build.
        machine: Where.
        steps: Steps in all, so that the optimizers have their moments.

    Returns:
        ``peaks`` of the phases, ``between steps`` and ``when W is updated``: bytes by kind with what
        is hidden, and ``parameters``, their number.
    """
    gc.collect()
    with live_bytes(machine) as counter:
        variant = kind.build()
        for _ in range(steps - 1):
            variant.step()
        measured = _one_step(variant, counter)
        gc.collect()
        held = held_bytes(variant)
        measured["between steps"] = {**held, "hidden": counter.live - sum(held.values())}
        measured["parameters"] = sum(p.numel() for p in variant.model.parameters())
    return measured


def measure_memory(size: Size, machine: Machine, names: Iterable[str]) -> list[dict[str, Any]]:
    """Measure the named kinds one after the other, each alone.

    Args:
        size: Size of the model and of a batch.
        machine: Where.
        names: Kinds with an optimizer; the vanilla step must be among them.

    Returns:
        One record a kind. ``bytes_per_parameter`` of the phases is of a batch of one text of eight
        tokens, in which activations are next to nothing.
    """
    small = replace(size, batch=1, length=8)
    wanted = list(names)
    whole = {kind.name: kind for kind in kinds(size, machine)}
    short = {kind.name: kind for kind in kinds(small, machine)}
    records = []
    with spared_collector():  # each measurement collects several times
        for name in wanted:
            record = {"name": name, **measure_kind(whole[name], machine)}
            bare = measure_kind(short[name], machine)
            record["bytes_per_parameter"] = {
                phase: peak / bare["parameters"] for phase, peak in bare["peaks"].items()
            }
            record["persistent"] = max(
                sum(record[moment].values()) for moment in ("between steps", "when W is updated")
            )
            record["peak"] = max(record["peaks"].values())
            records.append(record)
    reference = next(record for record in records if record["name"] == VANILLA)
    vanilla = sum(reference["when W is updated"][kind] for kind in ("weights", "gradients", "moments"))
    for record in records:
        record["persistent_ratio"] = record["persistent"] / vanilla
        record["peak_ratio"] = record["peak"] / reference["peak"]
    return records
