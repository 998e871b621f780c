"""Learn from labels of which some are wrong, beside a few that are right.

python examples/noisy_labels.py --tasks-dir path/to/tasks --jobs 2 --output-dir output/noisy_labels

The inner examples are 400 sentences of reviews (UCI: products, restaurants, films) whose labels are turned
round with a probability of ``--noise``. The outer ones are a few with the right label.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from outer_data.ground import Ground, draw
from outer_data.reviews import DOMAINS, SENTIMENTS, review_rows, reviews_ground
from outer_data.runs import flags, main

INNER, OUTER, DEV, TEST = 400, 60, 200, 1000


def make(given: argparse.Namespace, seed: int) -> Ground:
    """Draw the rows, and turn labels round."""
    rows = [row for domain in DOMAINS for row in review_rows(Path(given.tasks_dir), domain)]
    parts = draw(rows, (INNER, given.outer or OUTER, DEV, TEST), seed)
    wrong = np.random.default_rng(seed).random(INNER) < given.noise
    parts[0] = [
        (text, SENTIMENTS[1 - SENTIMENTS.index(label)] if is_wrong else label)
        for (text, label), is_wrong in zip(parts[0], wrong, strict=True)
    ]
    return reviews_ground(given, parts)


if __name__ == "__main__":
    parser = flags(__doc__)
    parser.add_argument("--noise", type=float, default=0.3)
    main(make, parser)
