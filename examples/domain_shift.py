"""Learn from examples of one domain, for another of which there are few.

python examples/domain_shift.py --tasks-dir path/to/tasks --jobs 2 --output-dir output/domain_shift

The inner examples are sentences of reviews of one kind (UCI), the outer ones a few of another kind. The dev
and test rows are of the other kind too.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from outer_data.ground import Ground, accuracy, draw, encode, padded, read_rows
from outer_data.reviews import DOMAINS, SENTIMENTS, fresh, pretrained
from outer_data.runs import flags, main

INNER, OUTER, DEV, TEST = 400, 60, 200, 600


def make(given: argparse.Namespace, seed: int) -> Ground:
    """Draw rows of both domains."""
    folder, loaded = Path(given.tasks_dir), pretrained(given.model)
    source, target = (
        [row for part in ("train", "test") for row in read_rows(folder / domain, part)]
        for domain in (given.source, given.target)
    )
    parts = [*draw(source, (INNER,), seed), *draw(target, (given.outer or OUTER, DEV, TEST), seed)]
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
    parser.add_argument("--source", choices=DOMAINS, default="uci-amazon")
    parser.add_argument("--target", choices=DOMAINS, default="uci-imdb")
    main(make, parser)
