"""What a method that puts vectors before the tokens says of an example is the same in every batch."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from agwm.data import DynamicPadding
from agwm.errors import MethodError
from agwm.recipe.config import FinetuneConfig
from agwm.testing.tiny_models import FAMILIES, examples, pretrained
from tests.methods.cells import small_method

NAMES = ("prompt_tuning", "prefix_tuning")
CELLS = [(name, family, side) for name in NAMES for family in FAMILIES for side in ("left", "right")]
# XLNet counts positions itself, and padding lies between its prompt and the tokens.
DEPENDS = ("prompt_tuning", "xlnet", "left")


def change(name, family, side):
    """Return how far the logits of an example move when a longer one stands beside it, or None: refused."""
    tokenizer = SimpleNamespace(pad_token_id=0, pad_token_type_id=0, padding_side=side)
    loaded = dataclasses.replace(pretrained(family), tokenizer=tokenizer)
    method = small_method(name)
    try:
        method.check(loaded, FinetuneConfig())
    except MethodError:
        return None
    model = method.reparametrize(loaded, FinetuneConfig(), 3).eval()
    short, long = (
        {key: row[key].tolist() for key in ("input_ids", "attention_mask")} for row in examples(2)
    )
    long = {key: value * 4 for key, value in long.items()}
    pad = DynamicPadding(tokenizer)
    with torch.no_grad():
        return float((model(**pad([short])).logits - model(**pad([short, long])).logits)[0].abs().max())


# Families with absolute positions are padded on the right, XLNet and decoders on the left.
@pytest.mark.parametrize(
    ("name", "family", "side"),
    [
        cell
        for cell in CELLS
        if cell != DEPENDS
        and ((cell[2] == "left") == (cell[1] in ("xlnet", "llama")) or cell[1] == "llama")
    ],
)
def test_padding_does_not_matter(name, family, side):
    moved = change(name, family, side)
    if moved is None:
        pytest.skip("refused")
    assert moved < 1e-5


def test_of_xlnet_the_card_says_that_it_matters():
    assert change(*DEPENDS) > 1e-3
