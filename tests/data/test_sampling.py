"""Low-resource samples and inner/outer splits."""

from __future__ import annotations

from collections import Counter

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agwm.data import check_disjoint, sample_low_resource, split_train
from agwm.errors import SplitError

LABELS = [0] * 150 + [1] * 300 + [2] * 50


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=12, max_size=200),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
    stratified=st.booleans(),
)
def test_sample_is_disjoint_of_the_right_size(
    labels: list[int], share: float, seed: int, stratified: bool
) -> None:
    largest = max(k for k in range(10, len(labels) + 1) if k + k // 6 <= len(labels))
    n = 10 + int(share * (largest - 10))
    train, dev = sample_low_resource(labels, n, seed, stratified)
    assert (len(train), len(dev)) == (n, n // 6)
    assert len({*train, *dev}) == n + n // 6
    assert {*train, *dev} <= set(range(len(labels)))
    assert (train, dev) == sample_low_resource(labels, n, seed, stratified)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=2, max_size=200),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
    stratified=st.booleans(),
)
def test_split_is_disjoint_and_covers(
    labels: list[int], fraction: float, seed: int, stratified: bool
) -> None:
    inner, outer = split_train(labels, fraction, seed=seed, stratified=stratified)
    assert sorted(inner + outer) == list(range(len(labels)))
    assert inner and outer
    assert abs(len(outer) - fraction * len(labels)) <= 1
    assert (inner, outer) == split_train(labels, fraction, seed=seed, stratified=stratified)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_strata_keep_their_share(seed: int) -> None:
    train, dev = sample_low_resource(LABELS, 100, seed, stratified=True)
    assert Counter(LABELS[i] for i in train) == {0: 30, 1: 60, 2: 10}
    assert abs(Counter(LABELS[i] for i in dev)[1] - 16 * 0.6) <= 1
    _, outer = split_train(LABELS, seed=seed, stratified=True)
    assert Counter(LABELS[i] for i in outer) == {0: 30, 1: 60, 2: 10}


def test_scores_are_stratified_by_fifths() -> None:
    scores = np.linspace(0, 5, 500) ** 2
    train, _ = sample_low_resource(scores, 50, 3, stratified=True)
    assert Counter(i // 100 for i in train) == {k: 10 for k in range(5)}


def test_uniform_sampling_is_uniform() -> None:
    drawn = Counter()
    for seed in range(600):
        drawn.update(sample_low_resource(range(40), 10, seed)[0])
    counts = np.array([drawn[i] for i in range(40)])
    # 600 draws of a quarter: mean 150, standard deviation 10.6.
    assert counts.sum() == 6000 and abs(counts - 150).max() < 5 * 10.6


def test_seeds_differ_and_global_state_is_left_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = sample_low_resource(LABELS, 100, 1)
    assert first != sample_low_resource(LABELS, 100, 2)
    assert split_train(500, seed=1) != split_train(500, seed=2)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_four_to_one_and_all_kinds_of_labels() -> None:
    inner, outer = split_train(300, seed=0)
    assert (len(inner), len(outer)) == (240, 60)
    data = datasets.Dataset.from_dict({"label": LABELS})
    expected = sample_low_resource(LABELS, 60, 9, True)
    assert expected == sample_low_resource(data, 60, 9, True)
    assert expected == sample_low_resource(torch.tensor(LABELS), 60, 9, True)
    assert split_train(data, seed=4) == split_train(500, seed=4)


def test_impossible_samples() -> None:
    with pytest.raises(SplitError, match="expected n >= 10, got 9"):
        sample_low_resource(LABELS, 9, 0)
    with pytest.raises(SplitError, match=r"at least 583 examples for n=500 and 83 .* got 500"):
        sample_low_resource(LABELS, 500, 0)
    with pytest.raises(SplitError, match="seed is out of range.*got -1"):
        sample_low_resource(LABELS, 20, -1)
    with pytest.raises(SplitError, match="wrong shape"):
        sample_low_resource([[1, 2]], 20, 0)
    with pytest.raises(SplitError, match="expected a column 'label'"):
        sample_low_resource(datasets.Dataset.from_dict({"y": [1]}), 20, 0)


def test_impossible_splits() -> None:
    with pytest.raises(SplitError, match="at least 2, got 1"):
        split_train(1, seed=0)
    with pytest.raises(SplitError, match="expected 0 < x < 1, got 1.0"):
        split_train(10, 1.0, seed=0)
    with pytest.raises(SplitError, match="needs labels"):
        split_train(10, seed=0, stratified=True)


def test_check_disjoint() -> None:
    check_disjoint(range(400), range(400, 500), 500)
    with pytest.raises(SplitError, match="inner_split and outer_split share 12 of 500 examples"):
        check_disjoint(range(412), range(400, 500), 500)
    with pytest.raises(SplitError, match="2 missing and 1 out of range"):
        check_disjoint(range(400), [*range(402, 500), 500], 500)
