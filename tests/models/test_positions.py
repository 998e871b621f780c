"""A model of N positions reads as many tokens as it is said to read, and fails with one more."""

from __future__ import annotations

import pytest
import torch

from agwm.models.positions import max_tokens
from agwm.testing.tiny_models import FAMILIES, pretrained
from tests.architectures import ARCHITECTURES

# One of each way to keep positions: tables with rows before the first position, by padding or offset,
# tables of plain tensors, of biases, a product of two, and none.
KINDS = [
    "roberta",
    "bart",
    "gpt2",
    "nystromformer",
    "ctrl",
    "gptj",
    "mpt",
    "canine",
    "t5",
    "funnel",
    "llama",
]
UNLIMITED = {"tapas"}  # it counts anew in each cell of its table


def reads(model, num_tokens, extra=()):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 90, (1, num_tokens), generator=generator)
    ids[0, -1] = getattr(model.config.get_text_config(), "eos_token_id", None) or 2
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **dict(extra)}
    try:
        with torch.no_grad():
            model(**inputs)
    except (IndexError, RuntimeError, ValueError):
        return False
    return True


def check(model, extra=lambda _: ()):
    limit = max_tokens(model)
    if limit is None:
        assert reads(model, 200, extra(200))
    else:
        assert reads(model, limit, extra(limit)) and not reads(model, limit + 1, extra(limit + 1))


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family):
    check(pretrained(family).model)


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name):
    check(ARCHITECTURES[name].build().eval())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - set(KINDS) - UNLIMITED))
def test_all_architectures(name):
    architecture = ARCHITECTURES[name]
    has_boxes = "bbox" in architecture.batch()
    extra = (
        (lambda n: [("bbox", torch.tensor([0, 0, 3, 2]).expand(1, n, 4))]) if has_boxes else lambda _: ()
    )
    check(architecture.build().eval(), extra)
