"""Time of variants that take turns, and the passes that each makes."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.models import Machine
from benchmarks.variants import Variant

__all__ = ["count_passes", "measure", "quartiles", "spared_collector", "take_turns"]


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median with the quartiles."""
    quantiles = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.25, 0.5, 0.75]).double())
    return dict(zip(("q1", "median", "q3"), quantiles.tolist(), strict=True))


def count_passes(
    model: nn.Module, step: Callable[[], Any], batch: int | None = None
) -> tuple[float, float]:
    """Do a step once and count the forward and backward passes of its model.

    Args:
        model: What is watched.
        step: What is done.
        batch: Size of a batch: a pass of a part of one counts as that part. None: each counts as one.

    Returns:
        Number of forward passes and of backward passes.
    """
    counts = {"forward": 0.0, "backward": 0.0}

    def count_forward(_: nn.Module, __: Any, output: Any) -> None:
        share = 1.0 if batch is None else len(output.logits) / batch

        def count_backward(_: Tensor) -> None:
            counts["backward"] += share

        counts["forward"] += share
        if output.loss.requires_grad:
            output.loss.register_hook(count_backward)

    handle = model.register_forward_hook(count_forward)
    try:
        step()
    finally:
        handle.remove()
    return counts["forward"], counts["backward"]


def take_turns(
    steps: dict[str, Callable[[], Any]], repeats: int, machine: Machine
) -> dict[str, list[float]]:
    """Time the steps in turns, each turn beginning with another one.

    Args:
        steps: What to time, by name.
        repeats: Turns.
        machine: Waited for before and after each step.

    Returns:
        Seconds of each turn, by name.
    """
    names = list(steps)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with spared_collector():
        for turn in range(repeats):
            first = turn % len(names)
            for name in [*names[first:], *names[:first]]:
                machine.wait()
                start = time.perf_counter()
                steps[name]()
                machine.wait()
                seconds[name].append(time.perf_counter() - start)
    return seconds


@contextmanager
def spared_collector() -> Iterator[None]:
    """Context manager: a collection looks at what is made inside, and not at all of torch.

    What was frozen before stays so, and with it what is made inside.
    """
    gc.collect()
    is_frozen = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        yield
    finally:
        if not is_frozen:
            gc.unfreeze()


def measure(
    variants: Sequence[Variant], repeats: int, machine: Machine, batch: int
) -> list[dict[str, Any]]:
    """Time variants in turns, after a first step of each that counts its passes.

    Args:
        variants: What to measure, with all that their ratios are to.
        repeats: Turns.
        machine: Where they run.
        batch: Size of a batch.

    Returns:
        One record a variant: all seconds, and quartiles of the seconds and of the ratios.
    """
    passes = {variant.name: count_passes(variant.model, variant.step, batch) for variant in variants}
    seconds = take_turns({variant.name: variant.step for variant in variants}, repeats, machine)
    records = []
    for variant in variants:
        own, reference = seconds[variant.name], seconds[variant.reference]
        records.append(
            {
                "name": variant.name,
                "forward_passes": passes[variant.name][0],
                "backward_passes": passes[variant.name][1],
                "seconds": quartiles(own),
                "ratio_to": variant.reference,
                "ratio": quartiles([a / b for a, b in zip(own, reference, strict=True)]),
                "all_seconds": own,
            }
        )
    return records
