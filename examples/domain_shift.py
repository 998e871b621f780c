"""Learn from examples of one domain, for another of which there are few.

python examples/domain_shift.py --tasks-dir path/to/tasks --jobs 2 --output-dir output/domain_shift

The inner examples are sentences of reviews of one kind (UCI), the outer ones a few of another kind. The dev
and test rows are of the other kind too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from outer_data.ground import Ground, draw
from outer_data.reviews import DOMAINS, review_rows, reviews_ground
from outer_data.runs import flags, main

INNER, OUTER, DEV, TEST = 400, 60, 200, 600


def make(given: argparse.Namespace, seed: int) -> Ground:
    """Draw rows of both domains."""
    source, target = (review_rows(Path(given.tasks_dir), domain) for domain in (given.source, given.target))
    parts = [*draw(source, (INNER,), seed), *draw(target, (given.outer or OUTER, DEV, TEST), seed)]
    return reviews_ground(given, parts)


if __name__ == "__main__":
    parser = flags(__doc__)
    parser.add_argument("--source", choices=DOMAINS, default="uci-amazon")
    parser.add_argument("--target", choices=DOMAINS, default="uci-imdb")
    main(make, parser)
