"""Examples grouped by length: every one once an epoch, less padding, orders that the seed decides."""

from __future__ import annotations

from itertools import chain

import torch
from torch.utils.data import Subset

from agwm.training.lengths import GroupedByLength, length_batches
from agwm.training.loop import make_loader


def _examples(count: int = 50) -> GroupedByLength:
    lengths = torch.randint(3, 60, (count,), generator=torch.Generator().manual_seed(1)).tolist()
    return GroupedByLength({"input_ids": [number] * length} for number, length in enumerate(lengths))


def _epoch(loader) -> list[list[int]]:
    return [[row["input_ids"][0] for row in batch] for batch in loader]


def test_each_example_comes_once_an_epoch_and_the_orders_differ():
    loader = make_loader(_examples(), 8, list, 3)
    first, second = _epoch(loader), _epoch(loader)
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(50))
    assert len(loader) == len(first) == 7
    assert first != second and sorted(map(sorted, first)) != sorted(map(sorted, second))
    assert _epoch(make_loader(_examples(), 8, list, 3)) == first
    assert _epoch(make_loader(_examples(), 8, list, 4)) != first


def test_batches_hold_examples_of_like_length():
    examples = _examples(200)

    def padded(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(examples.lengths[i] for i in batch) for batch in batches)

    grouped = padded(_epoch(make_loader(examples, 16, list, 1)))
    mixed = padded(_epoch(make_loader(list(examples), 16, list, 1)))
    assert sum(examples.lengths) < grouped < 0.75 * mixed


def test_a_part_of_the_examples_is_grouped_by_its_own_lengths():
    examples = _examples()
    part = Subset(examples, [40, 3, 7, 20, 11])
    batches = length_batches(part, 2, torch.Generator().manual_seed(1))
    assert batches is not None and batches.lengths == [examples.lengths[i] for i in part.indices]
    assert sorted(chain(*_epoch(make_loader(part, 2, list, 1)))) == [3, 7, 11, 20, 40]


def test_other_examples_are_in_the_order_that_they_always_had():
    assert length_batches(list(_examples()), 2, torch.Generator()) is None
