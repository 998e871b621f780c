"""What looks like a mistake in the splits of a search."""

from __future__ import annotations

import pytest
import torch

import agwm
from agwm.errors import AgwmWarning
from agwm.recipe.splits import draw_split, search_doubts
from agwm.testing import examples, pretrained

NAMES = ("bug", "praise")


def rows(count, label=lambda i: i % 2, text=lambda i: [i]):
    return [{"input_ids": text(i), "labels": label(i)} for i in range(count)]


def config(**search):
    return agwm.FinetuneConfig(search=agwm.SearchConfig(**search), seed=3)


def doubts(dataset, names=NAMES, **search):
    return search_doubts(dataset, config(**search), names)


def test_nothing_is_said_of_a_usual_search():
    assert doubts(rows(300), num_resplits=5) == []
    assert doubts(rows(300, float), None, num_resplits=5) == []


def test_a_search_too_short_for_its_unrolled_steps():
    (line,) = doubts(rows(40), epochs=1, batch_size=8, unroll_steps=5)
    assert "search.unroll_steps is 5, but a search has 4 steps: alpha is never learned" in line
    assert doubts(rows(40), epochs=1, batch_size=8, unroll_steps=4) == []


def test_the_same_text_in_both_splits():
    (line,) = doubts(rows(100, text=lambda i: [i // 2]))
    assert "the same texts are in the inner and in the outer split" in line


def test_an_outer_split_of_one_class():
    data = rows(100, lambda i: int(i == 0))
    _, outer = draw_split(data, config(), 0)
    assert 0 not in outer
    (line,) = doubts(data)
    assert "the outer split of search 1 has 20 examples, all of class 'bug'" in line


def test_more_searches_than_the_examples_can_tell_apart():
    assert (
        "search.num_resplits is 10, with 20 outer examples of 100" in doubts(rows(100), num_resplits=10)[0]
    )
    found = doubts(rows(12), num_resplits=5)
    assert any("search.num_resplits is 5, with 2 outer examples of 12" in line for line in found)


def test_finetune_warns_where_alpha_is_never_learned():
    settings = agwm.SearchConfig(epochs=1, batch_size=8, unroll_steps=50, num_resplits=2)
    collate = torch.utils.data.default_collate
    with pytest.warns(AgwmWarning, match=r"Alpha is never learned: .* at most \d+, .* got 50") as caught:
        agwm.finetune(
            pretrained("bert").model,
            examples(),
            collate=collate,
            config=agwm.FinetuneConfig(search=settings),
            progress=False,
        )
    assert len(caught) == 1
