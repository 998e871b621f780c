"""Batches of any mapping type, loaders of any kind, and losses that take their batch apart."""

from __future__ import annotations

import itertools
from collections import namedtuple

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import BatchEncoding

import agwm
from agwm.batches import BatchSource, to_device
from agwm.errors import DataError
from tests.search_runs import Search, tiny_classifier, token_batches, vector_batches


def small(**options) -> Search:
    settings = {"train_iters": 4, "inner": vector_batches(2), "outer": vector_batches(2, seed=1)}
    return Search(tiny_classifier(), "*weight", **(settings | options))


def same_runs(one: Search, two: Search) -> None:
    moments = one.run(), two.run()
    for name, weight in one.weights().items():
        assert torch.equal(two.weights()[name], weight)
    for a, b in zip(*moments, strict=True):
        assert all(torch.equal(a.gradient[name], b.gradient[name]) for name in a.gradient)


def test_batch_encoding_is_a_mapping():
    kinds = []
    encoded = [BatchEncoding(batch) for batch in token_batches(3)]
    search = Search(inner=encoded, train_iters=3)
    search.engine.inner.training_step = lambda batch, own=search.engine.inner.training_step: (
        kinds.append(type(batch)),
        own(batch),
    )[1]
    same_runs(search, Search(inner=token_batches(3), train_iters=3))
    assert set(kinds) == {dict}


def test_loaders_batches_are_left_as_they_were():
    batches = vector_batches(2)
    before = [(list(batch), {k: (v, v.clone()) for k, v in batch.items()}) for batch in batches]
    small(inner=batches).run()
    for batch, (keys, values) in zip(batches, before, strict=True):
        assert list(batch) == keys
        for key, (same, copy) in values.items():
            assert batch[key] is same and torch.equal(same, copy)


def test_loss_may_take_its_batch_apart():
    class MyTask(agwm.TaskWeightProblem):
        def loss(self, batch):
            labels = batch.pop("labels")
            return self.model(**batch, labels=labels).loss

    same_runs(small(inner_problem=MyTask), small())


def test_list_loader_of_one_batch_and_data_loader_agree():
    rows = [{k: v[0] for k, v in batch.items()} for batch in vector_batches(6, size=1)]
    batches = [{k: torch.stack([row[k] for row in rows[i : i + 2]]) for k in rows[0]} for i in (0, 2, 4)]
    same_runs(small(inner=DataLoader(rows, batch_size=2)), small(inner=batches))


def test_endless_iterator_is_a_loader():
    same_runs(small(inner=itertools.cycle(vector_batches(2))), small())


def test_generator_is_one_clear_line_when_its_epoch_ends():
    search = small(inner=(batch for batch in vector_batches(2)))
    with pytest.raises(DataError, match="iterated again in each epoch, got an empty generator in epoch 1"):
        search.run()


def test_empty_loader_is_one_clear_line():
    with pytest.raises(DataError, match="an empty list in epoch 0"):
        small(outer=[]).run()


def test_to_device_keeps_the_shape_of_a_batch():
    pair = namedtuple("pair", ("x", "y"))
    batch = {"a": [torch.ones(1), "text"], "b": (torch.zeros(1), {"c": 3}), "d": pair(torch.ones(2), None)}
    moved = to_device(batch, "meta")
    assert moved["a"][0].device.type == "meta" and moved["a"][1] == "text"
    assert isinstance(moved["a"], list) and isinstance(moved["b"], tuple)
    assert moved["b"][1] == {"c": 3}
    assert isinstance(moved["d"], pair) and moved["d"].x.device.type == "meta"
    assert batch["a"][0].device.type == "cpu"


def test_epoch_begins_when_its_first_batch_is_asked_for():
    source = BatchSource(DataLoader(range(10), batch_size=2, shuffle=True))
    state = torch.get_rng_state()
    iterator = iter(source)
    assert torch.equal(torch.get_rng_state(), state) and source.epoch == -1
    torch.manual_seed(0)
    first = torch.cat([*iterator]).tolist()
    torch.manual_seed(0)
    assert torch.cat([*DataLoader(range(10), batch_size=2, shuffle=True)]).tolist() == first
    assert (source.epoch, source.position) == (0, 5)


def test_sampler_is_told_the_epoch():
    told = []

    class Sampler(torch.utils.data.SequentialSampler):
        def set_epoch(self, epoch: int) -> None:
            told.append(epoch)

    data = [{k: v[0] for k, v in batch.items()} for batch in vector_batches(2, size=1)]
    small(inner=DataLoader(data, sampler=Sampler(data))).run()
    assert told == [0, 1]


def test_resuming_with_a_shorter_loader_is_an_error():
    source = BatchSource(list(range(5)))
    iterator = iter(source)
    for _ in range(4):
        next(iterator)
    with pytest.raises(DataError, match="at least 4 batches, got 2"):
        BatchSource([1, 2]).resume(source.to_tree())
