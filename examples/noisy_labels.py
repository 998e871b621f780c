"""Learn from labels of which some are wrong, beside a few that are right.

python examples/noisy_labels.py --tasks-dir path/to/tasks --jobs 2 --output-dir output/noisy_labels

The inner examples are 400 sentences of reviews (UCI: products, restaurants, films) whose labels are turned
round with a probability of ``--noise``. The outer ones are a few with the right label.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from outer_data.ground import Ground, accuracy, draw, encode, padded, read_rows
from outer_data.reviews import DOMAINS, SENTIMENTS, fresh, pretrained
from outer_data.runs import flags, main

INNER, OUTER, DEV, TEST = 400, 60, 200, 1000


def make(given: argparse.Namespace, seed: int) -> Ground:
    """Draw the rows, and turn labels round."""
    folder, loaded = Path(given.tasks_dir), pretrained(given.model)
    rows = [
        row for domain in DOMAINS for part in ("train", "test") for row in read_rows(folder / domain, part)
    ]
    parts = draw(rows, (INNER, given.outer or OUTER, DEV, TEST), seed)
    wrong = np.random.default_rng(seed).random(INNER) < given.noise
    parts[0] = [
        (text, SENTIMENTS[1 - SENTIMENTS.index(label)] if is_wrong else label)
        for (text, label), is_wrong in zip(parts[0], wrong, strict=True)
    ]
    inner, outer, dev, test = (encode(part, loaded.tokenizer, SENTIMENTS) for part in parts)
    collate = partial(padded, pad=loaded.tokenizer.pad_token_id)
    found = {"dev": dev, "test": test}
    return Ground(
        make_model=lambda: fresh(given.model, given.device),
        inner=inner,
        outer=outer,
        collate=collate,
        score=lambda model, part: {"accuracy": accuracy(model, found[part], collate)},
    )


if __name__ == "__main__":
    parser = flags(__doc__)
    parser.add_argument("--noise", type=float, default=0.3)
    main(make, parser)
