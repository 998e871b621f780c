"""What looks like a mistake in the splits of a search."""

from __future__ import annotations

import pytest
import torch

import agwm
from agwm.errors import AgwmWarning
from agwm.recipe.search_doubts import search_doubts
from agwm.recipe.splits import draw_split
from agwm.testing import batch, examples, pretrained

NAMES = ("bug", "praise")


def rows(count, label=lambda i: i % 2, text=lambda i: [i]):
    return [{"input_ids": text(i), "labels": label(i)} for i in range(count)]


def config(**search):
    return agwm.FinetuneConfig(search=agwm.SearchConfig(**search), seed=3)


def doubts(dataset, names=NAMES, **search):
    return search_doubts(dataset, config(**search), names)


def test_nothing_is_said_of_a_usual_search():
    for count in range(250, 310):
        assert doubts(rows(count), num_resplits=5) == []
    assert doubts(rows(300, float), None, num_resplits=5) == []


def test_a_search_too_short_for_its_unrolled_steps():
    (line,) = doubts(rows(40), epochs=1, batch_size=8, unroll_steps=5)
    assert (
        "alpha is never learned: expected unroll_steps of at most 4, the steps of a search, got 5." in line
    )
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
    with pytest.warns(AgwmWarning, match=r"Doubtful search: alpha is never learned: .* got 50") as caught:
        agwm.finetune(
            pretrained("bert").model,
            examples(),
            collate=collate,
            config=agwm.FinetuneConfig(search=settings),
            progress=False,
        )
    assert sum("never learned" in str(one.message) for one in caught) == 1


@pytest.mark.parametrize("wrap", [torch.tensor, lambda value: value])
def test_rows_of_tensors_are_told_apart_as_lists_are(wrap):
    data = [{"input_ids": wrap([i // 2, 1]), "labels": wrap(i % 2)} for i in range(100)]
    (line,) = doubts(data)
    assert "the same texts are in the inner and in the outer split" in line
    data = [{"input_ids": wrap([i, 1]), "labels": wrap(1)} for i in range(100)]
    assert "all of class 'praise'" in doubts(data)[0] and "all of class 1:" in doubts(data, None)[0]


def test_nothing_is_said_of_an_alpha_that_is_not_learned():
    settings = dict(epochs=1, batch_size=8, unroll_steps=50)
    frozen = agwm.FinetuneConfig(agwm.MixingConfig(alpha="frozen"), search=agwm.SearchConfig(**settings))
    assert search_doubts(rows(40), frozen, NAMES) == []
    assert doubts(rows(40), attention_learning_rate=0.0, **settings) == []


def test_rows_that_are_made_when_they_are_asked_for_are_left_alone():
    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 100

        def __getitem__(self, index):
            raise AssertionError("looked at")

    assert doubts(Rows()) == []
    assert len(doubts(Rows(), num_resplits=10)) == 1


def test_labels_of_every_token_are_no_classes():
    assert doubts(rows(100, lambda i: [1, 1, 1])) == []


def test_an_engine_of_one_loader_or_of_no_outer_step_is_told():
    def build(inner, outer, **options):
        model = pretrained("bert").model
        mixup = agwm.inject(model, seed=0)
        optimizers = (torch.optim.SGD(p.parameters(), lr=0.1) for p in (model, mixup.attention))
        return agwm.build_engine(mixup, inner, outer, *optimizers, progress=False, **options)

    with pytest.warns(AgwmWarning, match="Doubtful search: inner and outer loader are one object"):
        build(split := [batch()], split, train_iters=2)
    with pytest.warns(AgwmWarning, match="Doubtful search: alpha is never learned.* at most 2, .* got 3"):
        build([batch()], [batch()], train_iters=2, unroll_steps=3)


@pytest.mark.parametrize("make", [list, torch.tensor])
def test_sets_of_labels_are_the_strata_where_an_example_has_several(make):
    data = rows(60, lambda i: make([float(i % 3 == 0), float(i % 3 == 1)]))
    _, outer = draw_split(data, config(stratified=True), 0)
    assert sorted(index % 3 for index in outer) == [0] * 4 + [1] * 4 + [2] * 4
    assert doubts(data, ("a", "b")) == []


@pytest.mark.parametrize(
    ("scheme", "response", "order", "is_told"),
    [
        ("explicit", "identity", "second", True),
        ("forward", "identity", "second", False),
        ("explicit", "optimizer", "second", False),
        ("explicit", "identity", "first", False),
    ],
)
def test_the_explicit_scheme_with_a_response_that_it_does_not_fit_is_told(scheme, response, order, is_told):
    rule = agwm.Hypergradient(scheme=scheme, best_response=response, order=order)
    lines = search_doubts(rows(40), agwm.FinetuneConfig(hypergradient=rule))
    assert any("'forward' takes it along" in line for line in lines) == is_told
