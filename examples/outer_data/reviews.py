"""Read sentences of reviews, and make a ground of them: what two examples share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache, partial
from pathlib import Path

from torch import nn

from agwm.models.pretrained import Pretrained, load_pretrained
from outer_data.ground import Ground, accuracy, encode, padded, read_rows

DOMAINS = ("uci-amazon", "uci-yelp", "uci-imdb")
SENTIMENTS = ("0", "1")


@lru_cache(maxsize=2)
def pretrained(name: str) -> Pretrained:
    """Return a pretrained model with a new head and its tokenizer, loaded once a process."""
    return load_pretrained(name, SENTIMENTS, seed=0)


def fresh(name: str, device: str) -> nn.Module:
    """Return a copy of the model as it was loaded."""
    return deepcopy(pretrained(name).model).to(device)


def review_rows(folder: Path, domain: str) -> list[tuple[str, str]]:
    """Read all texts and labels of a domain."""
    return [row for part in ("train", "test") for row in read_rows(folder / domain, part)]


def reviews_ground(given: argparse.Namespace, parts: Sequence[Sequence[tuple[str, str]]]) -> Ground:
    """Return the ground of inner, outer, dev and test rows, in this order."""
    tokenizer = pretrained(given.model).tokenizer
    inner, outer, dev, test = (encode(part, tokenizer, SENTIMENTS) for part in parts)
    collate = partial(padded, pad=tokenizer.pad_token_id)
    found = {"dev": dev, "test": test}
    return Ground(
        make_model=lambda: fresh(given.model, given.device),
        inner=inner,
        outer=outer,
        collate=collate,
        score=lambda model, part: {"accuracy": accuracy(model, found[part], collate)},
    )
