"""The parts of a model are found in every family."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from agwm.errors import MethodError
from agwm.models.families import (
    backbone_linears,
    blocks,
    head_names,
    is_regression,
    poolers,
    word_embeddings,
)
from agwm.testing.tiny_models import FAMILIES, batch, pretrained


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_do_not_overlap_and_blocks_come_in_order(family):
    model = pretrained(family).model
    found = blocks(model)
    assert len(found) == (4 if family == "bart" else 3)
    order = []
    handles = [
        block.register_forward_hook(lambda *_, index=index: order.append(index))
        for index, block in enumerate(found)
    ]
    model(**batch())
    for handle in handles:
        handle.remove()
    assert order == list(range(len(found)))
    inside = {id(parameter) for block in found for parameter in block.parameters()}
    head = [parameter for name, parameter in model.named_parameters() if name in head_names(model)]
    assert head and not inside & {id(parameter) for parameter in head}


@pytest.mark.parametrize("family", FAMILIES)
def test_word_embeddings_see_the_tokens(family):
    model = pretrained(family).model
    seen = []
    for module in word_embeddings(model):
        module.register_forward_hook(lambda _, __, output: seen.append(output.shape))
    inputs = batch()
    model(**inputs)
    shape = torch.Size([*inputs["input_ids"].shape, 16])
    # XLNet computes with the sequence first
    assert seen and all(sorted(found) == sorted(shape) for found in seen)


def test_poolers_and_linears():
    assert [len(poolers(pretrained(name).model)) for name in ("bert", "roberta", "deberta", "xlnet")] == [
        1,
        0,
        1,
        1,
    ]
    model = pretrained("bert").model
    assert "classifier" not in backbone_linears(model)
    assert len(backbone_linears(model)) == 3 * 6 + 1


def test_regression_is_one_score():
    assert is_regression(pretrained("bert", num_labels=1).model)
    assert not is_regression(pretrained("bert").model)


def test_a_model_without_blocks_is_refused():
    model = BertForSequenceClassification(BertConfig(num_hidden_layers=0, hidden_size=12, vocab_size=9))
    with pytest.raises(MethodError, match="No transformer blocks"):
        blocks(model)
