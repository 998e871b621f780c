"""Outer examples that are a data set of their own."""

from __future__ import annotations

import copy

import pytest
import torch

import agwm
from agwm.batches import Split
from agwm.errors import AgwmWarning, ConfigError, DataError, SplitError
from agwm.recipe.passes import finetune_passes
from agwm.recipe.search_doubts import search_doubts
from agwm.recipe.splits import draw_parts, draw_split
from agwm.testing import examples, pretrained

collate = torch.utils.data.default_collate


def settings(**search) -> agwm.FinetuneConfig:
    return agwm.FinetuneConfig(
        search=agwm.SearchConfig(**{"epochs": 1, "batch_size": 4, **search}),
        final=agwm.TrainingConfig(epochs=1, batch_size=4),
    )


def seen_by(config, outer_dataset=None, train=None):
    """Finetune, and return the result with the first token ids that each problem's loss saw."""
    seen = {"inner": [], "outer": []}

    class Inner(agwm.TaskWeightProblem):
        def loss(self, batch):
            seen["inner"] += [tuple(row.tolist()) for row in batch["input_ids"]]
            return super().loss(batch)

    class Outer(agwm.AttentionProblem):
        def loss(self, batch):
            seen["outer"] += [tuple(row.tolist()) for row in batch["input_ids"]]
            return super().loss(batch)

    result = agwm.finetune(
        pretrained("bert").model,
        examples() if train is None else train,
        outer_dataset=outer_dataset,
        collate=collate,
        config=config,
        progress=False,
        inner=Inner,
        outer=Outer,
    )
    return result, seen


def texts(rows):
    return {tuple(row["input_ids"].tolist()) for row in rows}


def test_w_sees_all_of_the_one_and_alpha_all_of_the_other():
    rows = examples()
    train, outer = rows[: len(rows) - 6], rows[len(rows) - 6 :]
    assert not texts(train) & texts(outer)
    result, seen = seen_by(settings(num_resplits=2, epochs=3), outer, train)
    assert set(seen["inner"]) == texts(train) and set(seen["outer"]) == texts(outer)
    assert result.num_steps["search"] == 2 * 3 * -(-len(train) // 4)
    assert result.num_examples == len(train)
    moved = [not torch.equal(result.alpha[name], start) for name, start in result.initial_alpha.items()]
    assert all(moved)


def test_restarts_draw_another_alpha_and_another_order():
    rows = examples()
    first, second = (
        [part.indices for part in draw_parts(rows[:8], settings(), k, rows[8:])] for k in (0, 1)
    )
    assert (
        [list(part) for part in first]
        == [list(part) for part in second]
        == [[*range(8)], [*range(len(rows) - 8)]]
    )
    one, _ = seen_by(settings(num_resplits=1), rows[8:], rows[:8])
    two, _ = seen_by(settings(num_resplits=2), rows[8:], rows[:8])
    assert any(not torch.equal(one.initial_alpha[name], two.initial_alpha[name]) for name in one.alpha)


def test_the_halves_of_a_split_given_by_hand_are_that_split():
    """With a final stage of no step the two ways are the same search, bit for bit."""
    rows, config = examples(), settings()
    config = agwm.FinetuneConfig(search=config.search, final=agwm.TrainingConfig(epochs=0))
    inner, outer = draw_split(rows, config, 0)
    by_split, _ = seen_by(config)
    by_hand, _ = seen_by(config, [rows[i] for i in outer], [rows[i] for i in inner])
    for name, alpha in by_split.alpha.items():
        assert torch.equal(alpha, by_hand.alpha[name])
    states = by_split.model.state_dict(), by_hand.model.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    other, _ = seen_by(config, [rows[i] for i in outer][::-1], [rows[i] for i in inner][::-1])
    assert any(not torch.equal(states[0][n], tensor) for n, tensor in other.model.state_dict().items())


def test_what_cannot_be_right_is_refused_and_the_model_stays():
    rows = examples()
    model = pretrained("bert").model
    before = copy.deepcopy(model.state_dict())
    same = rows[:6]
    for train, outer, search, error, line in (
        (rows[:8], [], {}, DataError, "No outer examples: expected at least one in outer_dataset"),
        (same, same, {}, SplitError, "Outer data are not held out: expected other examples"),
        (rows[:8], rows[8:], {"outer_fraction": 0.3}, ConfigError, "search.outer_fraction has no effect"),
        (rows[:8], rows[8:], {"stratified": True}, ConfigError, "search.stratified has no effect"),
    ):
        with pytest.raises(error, match=line):
            agwm.finetune(model, train, outer_dataset=outer, collate=collate, config=settings(**search))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_what_looks_like_a_mistake_is_said():
    rows = [{"input_ids": [i], "labels": i % 2} for i in range(20)]
    doubts = search_doubts
    assert doubts(rows[:12], settings(num_resplits=9), None, rows[12:]) == []
    (line,) = doubts(rows[:12], settings(), None, rows[10:])
    assert line == "the same texts are in both data sets (2): the outer loss is not held out."
    (line,) = doubts(rows[:12], settings(), ("bug", "praise"), rows[12::2])
    assert line == "outer_dataset has 4 examples, all of class 'bug': alpha is learned on one answer."
    (line,) = doubts(rows[:12], settings(unroll_steps=4), None, rows[12:])
    assert "alpha is never learned" in line
    with pytest.warns(AgwmWarning, match="in both data sets"):
        seen_by(settings(), examples()[4:10], examples()[:8])


def test_passes_are_those_that_are_made():
    rows, config = examples(), settings(num_resplits=2, epochs=2, warmup_ratio=0.0)
    calls = []

    class Counting(agwm.TaskWeightProblem):
        def loss(self, batch):
            calls.append(1)
            return super().loss(batch)

    class Outer(agwm.AttentionProblem):
        def loss(self, batch):
            calls.append(1)
            return super().loss(batch)

    agwm.finetune(
        pretrained("bert").model,
        rows[:9],
        outer_dataset=rows[9:],
        collate=collate,
        config=config,
        progress=False,
        inner=Counting,
        outer=Outer,
    )
    assert len(calls) == finetune_passes(config, 9, has_outer_dataset=True)
    assert len(calls) != finetune_passes(config, 9)


def test_places_are_told_in_the_data_set_of_the_problem():
    rows = examples()
    inner, outer = draw_parts(rows[:8], settings(), 0, rows[8:])
    assert isinstance(inner, Split) and inner[3] is rows[3] and outer[1] is rows[9]
