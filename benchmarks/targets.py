"""What the search step has to reach, compared with what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.fidelity import MASKS
from benchmarks.timing import quartiles

__all__ = ["TARGETS", "Target", "judge"]

FORWARD, CENTRAL, FIRST = "agwm, forward scheme", "agwm, central scheme", "agwm, first order"
EXPLICIT = "agwm, explicit scheme"
ROLL_BACK, INJECTED = "stock Betty, darts, roll-back", "injected, convex, forward and backward"


@dataclass(frozen=True)
class Target:
    """One figure to reach.

    Attributes:
        name: What the figure is.
        limit: What it is compared with.
        is_least: Whether it must be at least the limit, not at most.
        part: The part of the result that it is taken from.
        figure: Takes it from that part.
    """

    name: str
    limit: float
    is_least: bool
    part: str
    figure: Callable[[Any], float]


def _named(records: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next(record for record in records if record["name"] == name)


def _ratio(name: str) -> Callable[[Any], float]:
    return lambda records: _named(records, name)["ratio"]["median"]


def _stock_to_forward(records: Any) -> float:
    pairs = zip(
        _named(records, ROLL_BACK)["all_seconds"], _named(records, FORWARD)["all_seconds"], strict=True
    )
    return quartiles([stock / own for stock, own in pairs])["median"]


def _fidelity(name: str, figure: str) -> Callable[[Any], float]:
    return lambda records: _named([r for r in records if r["against"] == MASKS], name)[figure]


TARGETS: tuple[Target, ...] = (
    Target("iteration / vanilla step, forward scheme", 3.1, False, "time", _ratio(FORWARD)),
    Target("iteration / vanilla step, central scheme", 4.1, False, "time", _ratio(CENTRAL)),
    Target("iteration / vanilla step, explicit scheme", 2.1, False, "time", _ratio(EXPLICIT)),
    Target("iteration / vanilla step, first order", 2.05, False, "time", _ratio(FIRST)),
    Target("stock Betty with roll-back / agwm forward", 1.7, True, "time", _stock_to_forward),
    Target("injected model's forward and backward / plain model's", 1.05, False, "time", _ratio(INJECTED)),
    Target("cosine of the indirect term, central", 0.9999, True, "fidelity", _fidelity(CENTRAL, "cosine")),
    Target("relative error of it, central", 0.01, False, "fidelity", _fidelity(CENTRAL, "error")),
    Target("cosine of the indirect term, forward", 0.999, True, "fidelity", _fidelity(FORWARD, "cosine")),
    Target("relative error of it, forward", 0.05, False, "fidelity", _fidelity(FORWARD, "error")),
    Target(
        "persistent bytes, forward scheme / vanilla AdamW's weights, gradients and moments",
        1.5,
        False,
        "memory",
        lambda records: _named(records, FORWARD)["persistent_ratio"],
    ),
    Target(
        "whole run with one search / plain finetuning, by time",
        3.5,
        False,
        "run",
        lambda run: run["ratio"]["median"],
    ),
    Target("the same, by passes", 3.5, False, "run", lambda run: run["passes_ratio"]),
)


def judge(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compare every target whose part was measured.

    Args:
        parts: The measured parts by name.

    Returns:
        One record a target: ``name``, ``limit``, ``is_least``, ``figure`` and ``is_met``; the last two
        are None where the part was not measured.
    """
    records = []
    for target in TARGETS:
        figure = target.figure(parts[target.part]) if target.part in parts else None
        is_met = None
        if figure is not None:
            is_met = figure >= target.limit if target.is_least else figure <= target.limit
        records.append(
            {
                "name": target.name,
                "limit": target.limit,
                "is_least": target.is_least,
                "figure": figure,
                "is_met": is_met,
            }
        )
    return records
