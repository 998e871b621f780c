"""The classifier of the examples on sentences of reviews."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache

from torch import nn

from agwm.models.pretrained import Pretrained, load_pretrained

DOMAINS = ("uci-amazon", "uci-yelp", "uci-imdb")
SENTIMENTS = ("0", "1")


@lru_cache(maxsize=2)
def pretrained(name: str) -> Pretrained:
    """Return a pretrained model with a new head and its tokenizer, loaded once a process."""
    return load_pretrained(name, SENTIMENTS, seed=0)


def fresh(name: str, device: str) -> nn.Module:
    """Return a copy of the model as it was loaded."""
    return deepcopy(pretrained(name).model).to(device)
