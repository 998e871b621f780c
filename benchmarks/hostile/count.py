"""Count how commands end on hostile input.

python -m benchmarks.hostile.count --tries 10000
python -m benchmarks.hostile.count --tries 500 --kind records --seed 7
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from benchmarks.hostile.cases import KINDS
from benchmarks.hostile.judgement import Case, Verdict, examine
from benchmarks.hostile.place import make_place

__all__ = ["Count", "count", "count_kinds", "main"]

_ROUNDS = 20
_DRAWING: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@dataclass
class Count:
    """How commands ended on inputs of one kind.

    Attributes:
        kind: The kind.
        tried: How many inputs were tried.
        accepted: How many were read and checked, up to where training begins.
        refused: How many were refused in one line.
        faults: Those that ended otherwise, with what was said.
    """

    kind: str
    tried: int = 0
    accepted: int = 0
    refused: int = 0
    faults: list[tuple[Case, str]] = field(default_factory=list)

    def add(self, case: Case, verdict: Verdict) -> None:
        """Count a verdict."""
        self.tried += 1
        self.accepted += verdict.end == "accepted"
        self.refused += verdict.end == "refused"
        if verdict.end == "fault":
            self.faults.append((case, verdict.words))


def count(kind: str, cases: st.SearchStrategy[Case], place: Path, tries: int, number: int = 1) -> Count:
    """Try so many different inputs of a kind, all of a seed; the drawing goes on after a fault."""
    found, seen = Count(kind), set()

    def try_one(case: Case) -> None:
        mark = repr((case.argv, case.files, case.stdin))
        if mark not in seen:
            seen.add(mark)
            found.add(case, examine(case, place))

    for part in range(_ROUNDS):  # hypothesis draws some inputs twice
        if found.tried < tries:
            options = settings(max_examples=tries - found.tried, **_DRAWING)
            seed(f"{number}-{part}")(options(given(cases)(try_one)))()
    return found


def count_kinds(tries: int, number: int = 1, kinds: Iterable[str] = KINDS) -> list[Count]:
    """Try so many inputs in all, as many of each kind, and print the counts and the faults.

    Args:
        tries: How many.
        number: Seed of the drawing.
        kinds: Names out of ``KINDS``.
    """
    kinds, counts = list(kinds), []
    with tempfile.TemporaryDirectory() as name:
        place = make_place(Path(name))
        for kind in kinds:
            counts.append(count(kind, KINDS[kind](place), place, -(-tries // len(kinds)), number))
            _tell(counts[-1])
    return counts


def _tell(one: Count) -> None:
    for case, words in one.faults:
        print(f"--- {one.kind}\n{case.argv}\n{case.files or case.stdin!r}\n{words}")
    ends = f"{one.refused} refused, {one.accepted} accepted, {len(one.faults)} faults"
    print(f"{one.kind}: {one.tried} tried, {ends}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count; the exit code is 1 if there is a fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tries", type=int, default=10_000, help="in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    given = parser.parse_args(arguments)
    counts = count_kinds(given.tries, given.seed, given.kind or KINDS)
    return int(any(one.faults for one in counts))


if __name__ == "__main__":
    raise SystemExit(main())
