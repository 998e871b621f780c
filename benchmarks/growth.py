"""How the cost of a search iteration grows with the model, the texts and the unroll steps."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

from benchmarks.models import Machine, Size
from benchmarks.timing import quartiles, take_turns
from benchmarks.variants import SEARCHES, VANILLA, Variant, kinds, search

__all__ = ["GROWTH", "SMOKE_GROWTH", "measure_growth"]

BATCH = 4
GROWTH: dict[str, tuple[int, ...]] = {
    "hidden": (128, 256, 384, 512),
    "layers": (2, 6, 12),
    "length": (32, 128, 256),
    "unroll_steps": (1, 2, 4),
}
SMOKE_GROWTH = {"hidden": (24, 48), "layers": (1,), "length": (8,), "unroll_steps": (1, 2)}


def _sized(size: Size, what: str, value: int) -> Size:
    if what == "unroll_steps":
        return size
    if what == "hidden":
        width = size.hidden // size.heads
        return replace(size, hidden=value, heads=value // width)
    return replace(size, **{what: value})


def _point(size: Size, machine: Machine, unroll_steps: int, repeats: int) -> dict[str, Any]:
    """Time the searches beside a vanilla step; a ratio is per inner step."""
    vanilla = next(kind for kind in kinds(size, machine) if kind.name == VANILLA).build()
    variants: list[Variant] = [vanilla]
    for name, settings in SEARCHES.items():
        variants.append(search(name, size, machine, settings, unroll_steps))
    steps = {variant.name: variant.step for variant in variants}
    # the first turn, in which the optimizers make their moments, is not counted
    seconds = {name: values[1:] for name, values in take_turns(steps, 1 + repeats, machine).items()}
    own = {name: values for name, values in seconds.items() if name != VANILLA}
    return {
        "vanilla_seconds": quartiles(seconds[VANILLA]),
        "ratios": {
            name: quartiles([a / b / unroll_steps for a, b in zip(v, seconds[VANILLA], strict=True)])
            for name, v in own.items()
        },
    }


def measure_growth(
    size: Size, machine: Machine, repeats: int, values: dict[str, tuple[int, ...]]
) -> list[dict[str, Any]]:
    """Change one size at a time and time the searches in turns with a vanilla step.

    Args:
        size: What is changed; batches are of at most four texts.
        machine: Where.
        repeats: Turns of each point, after one that is not counted.
        values: Values of each size, by name; ``unroll_steps`` among them. The width of a head stays.

    Returns:
        One record a point: ``what``, ``value``, ``batch``, and quartiles of the ratio of each search to
        the vanilla step, per inner step. A point met before is not measured again.
    """
    base = replace(size, batch=min(size.batch, BATCH))
    found: dict[tuple[Size, int], dict[str, Any]] = {}
    records = []
    for what, list_of_values in values.items():
        for value in list_of_values:
            key = (_sized(base, what, value), value if what == "unroll_steps" else 1)
            if key not in found:
                found[key] = _point(*key[:1], machine, key[1], repeats)
                gc.collect()
            records.append({"what": what, "value": value, "batch": base.batch, **found[key]})
    return records
