"""Run weights_mixup.py by both hypergradients on five seeds, and write the table of its card.

python examples/betty/weights_mixup_results.py --steps 40 --write examples/betty/README.md
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from statistics import fmean, pstdev

import weights_mixup
from command_line import run_program

from agwm import markdown

RUNS = 5


def table(seed: int, steps: int) -> str:
    """Run both kinds on each seed: mean ± standard deviation (ddof 0), and the time beside stock darts."""
    rows, seconds = [], {}
    for kind in ("darts", "agwm"):
        start = time.perf_counter()
        runs = [weights_mixup.main(kind, each, steps) for each in range(seed, seed + RUNS)]
        seconds[kind] = time.perf_counter() - start
        moved, scores = zip(*runs, strict=True)
        rows.append(
            [
                f'`Config(type="{kind}")`',
                f"{100 * fmean(scores):.2f} ± {100 * pstdev(scores):.2f}",
                f"{fmean(moved):.4f} ± {pstdev(moved):.4f}",
                f"{seconds[kind] / seconds['darts']:.2f}",
            ]
        )
    return markdown.table(
        ["inner problem", "test Matthews × 100", "mean of 1 - alpha", "time beside darts"], rows
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return run_program("weights_mixup_results", __doc__, table, argv)


if __name__ == "__main__":
    sys.exit(main())
