"""Loaders of all kinds, with real workers: a resumed run gets the batches of the uninterrupted one."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from agwm.batches import BatchSource, Split
from agwm.errors import DataError
from agwm.files import load_tree, save_tree

NUM = 11


class Noisy(Dataset):
    """Examples with noise that is drawn where they are read: in a worker, if there are any."""

    def __init__(self, generator=None):
        self.own = generator

    def __len__(self):
        return NUM

    def __getitem__(self, index):
        noise = torch.rand((), generator=self.own, dtype=torch.float64)
        return torch.tensor(float(index), dtype=torch.float64) + noise / 2


class Chained:
    """A sampler that is no class of torch's, around another."""

    def __init__(self, inner_sampler):
        self.inner_sampler = inner_sampler
        self.rng = random.Random(4)

    def __iter__(self):
        for index in self.inner_sampler:
            yield (index + self.rng.randrange(3)) % NUM

    def __len__(self):
        return len(self.inner_sampler)


class NumpyOrder:
    """A loader that is no class of torch's, with a generator of numpy's."""

    def __init__(self):
        self.rng = np.random.default_rng(4)
        self.older = np.random.RandomState(4)

    def __iter__(self):
        for index in self.rng.permutation(NUM):
            yield torch.tensor([float(index), self.older.rand()])


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


def order(seed=3):
    return RandomSampler(range(NUM), generator=seeded(seed))


LOADERS = {
    "batch sampler": lambda: DataLoader(Noisy(), batch_sampler=BatchSampler(order(), 3, False)),
    "chained samplers": lambda: DataLoader(Noisy(), batch_size=3, sampler=Chained(Chained(order()))),
    "with replacement": lambda: DataLoader(
        Noisy(), 2, sampler=RandomSampler(range(NUM), replacement=True, num_samples=40, generator=seeded())
    ),
    "weighted": lambda: DataLoader(
        Noisy(), batch_size=3, sampler=WeightedRandomSampler([1.0, 2.0] * 5 + [1.0], NUM)
    ),
    "weighted, own generator": lambda: DataLoader(
        Noisy(),
        batch_sampler=BatchSampler(
            WeightedRandomSampler([1.0, 2.0] * 5 + [1.0], NUM, generator=seeded()), 3, True
        ),
    ),
    "subset": lambda: DataLoader(Noisy(), batch_size=2, sampler=SubsetRandomSampler(range(1, NUM))),
    "generator of the data set": lambda: DataLoader(Noisy(seeded()), batch_size=3, shuffle=True),
    "no batching": lambda: DataLoader(Noisy(), batch_size=None, sampler=order()),
    "numpy": NumpyOrder,
    "workers": lambda: DataLoader(Noisy(), batch_size=3, shuffle=True, num_workers=2),
    "workers, own generator": lambda: DataLoader(
        Noisy(), batch_size=3, shuffle=True, num_workers=2, generator=seeded()
    ),
    "workers, nested generator": lambda: DataLoader(
        Noisy(), batch_sampler=BatchSampler(order(), 3, False), num_workers=1
    ),
    "persistent workers": lambda: DataLoader(
        Noisy(), batch_size=3, shuffle=True, num_workers=2, persistent_workers=True
    ),
    "persistent workers, own generator": lambda: DataLoader(
        Noisy(), batch_size=3, shuffle=True, num_workers=2, persistent_workers=True, generator=seeded()
    ),
}


def take(source, iterator, count):
    """Take batches as a problem does, with draws of somebody else's in between."""
    batches = []
    while len(batches) < count:
        batch = next(iterator, None)
        if batch is None:
            iterator = iter(source)
            continue
        batches.append((batch, str(source.place)))
        torch.rand(3)
    return batches, iterator


def run(make, first, second, peek=False):
    torch.manual_seed(1)
    loader = make()
    if peek:
        next(iter(loader))
    source = BatchSource(loader)
    before, iterator = take(source, iter(source), first)
    tree, state = source.to_tree(), torch.get_rng_state()
    after, _ = take(source, iterator, second)
    return before, tree, state, after, torch.get_rng_state()


def marks(kind, stop):
    """Processes take most of the time: with them, two stops are tried each time."""
    return pytest.mark.slow if "workers" in kind and stop not in (2, 4) else ()


# before the first batch, inside of an epoch, at the end of one, and in a later one
@pytest.mark.parametrize(
    ("kind", "stop"),
    [pytest.param(kind, stop, marks=marks(kind, stop)) for kind in LOADERS for stop in (0, 2, 4, 9)],
)
def test_batches_of_a_resumed_run_are_those_of_the_uninterrupted_one(kind, stop, tmp_path):
    _, tree, state, wanted, end = run(LOADERS[kind], stop, 12)
    save_tree(tmp_path / "place", tree)
    torch.manual_seed(99)
    source = BatchSource(LOADERS[kind]())
    torch.set_rng_state(state)
    iterator = source.resume(load_tree(tmp_path / "place"))
    assert torch.equal(torch.get_rng_state(), state)
    got, _ = take(source, iterator, 12)
    for (batch, place), (same, where) in zip(got, wanted, strict=True):
        assert torch.equal(batch, same) and place == where
    assert torch.equal(torch.get_rng_state(), end)
    assert len({float(batch.sum()) for batch, _ in wanted}) == 12, "nothing is drawn: the test cannot fail"


@pytest.mark.parametrize("kind", ["workers, own generator", "persistent workers", "subset"])
def test_order_and_draws_are_those_of_the_loader_itself(kind):
    torch.manual_seed(1)
    loader, plain = LOADERS[kind](), []
    for _ in range(2):
        plain += list(loader)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    source = BatchSource(LOADERS[kind]())
    noted = [(batch, source.place.examples) for _ in range(2) for batch in source]
    assert all(torch.equal(a, b) for a, (b, _) in zip(plain, noted, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    for batch, examples in noted:
        assert batch.floor().long().tolist() == list(examples)


@pytest.mark.parametrize("stop", [2, 6])
def test_workers_that_were_there_before_the_run_are_there_when_it_is_resumed(stop):
    """Looking at a batch starts persistent workers, and the run does not draw a seed for them."""
    make = LOADERS["persistent workers"]
    _, tree, state, wanted, _ = run(make, stop, 8, peek=True)
    torch.manual_seed(5)
    source = BatchSource(make())
    torch.set_rng_state(state)
    got, _ = take(source, source.resume(tree), 8)
    for (batch, _), (same, _) in zip(got, wanted, strict=True):
        assert torch.equal(batch.floor(), same.floor()), "order"


def test_the_loader_is_as_it_was_while_it_is_walked():
    loader = DataLoader(Noisy(), batch_size=3, shuffle=True)
    before = dict(vars(loader))
    for _ in BatchSource(loader):
        assert vars(loader) == before


def test_a_part_of_a_data_set_tells_the_numbers_in_the_whole():
    source = BatchSource(DataLoader(Split(Noisy(), [7, 2, 9]), batch_size=2))
    assert [(len(batch), str(source.place)) for batch in source] == [
        (2, "examples 7, 2"),
        (1, "examples 9"),
    ]


def test_a_loader_that_hides_the_examples_tells_the_batch():
    source = BatchSource([torch.ones(1)] * 2)
    for _ in range(2):
        places = [str(source.place) for _ in source]
    assert places == ["batch 1 of epoch 2", "batch 2 of epoch 2"]


def test_sampler_inside_of_a_batch_sampler_is_told_the_epoch():
    told = []

    class Sampler(torch.utils.data.SequentialSampler):
        def set_epoch(self, epoch):
            told.append(epoch)

    source = BatchSource(DataLoader(Noisy(), batch_sampler=BatchSampler(Sampler(range(4)), 2, False)))
    for _ in range(2):
        list(source)
    assert told == [0, 1]


def test_resuming_with_other_generators_is_an_error():
    source = BatchSource(DataLoader(Noisy(), batch_size=3, shuffle=True, generator=seeded()))
    next(iter(source))
    with pytest.raises(DataError, match="expected a loader with 1 generators, got 0"):
        BatchSource(DataLoader(Noisy(), batch_size=3, shuffle=True)).resume(source.to_tree())
