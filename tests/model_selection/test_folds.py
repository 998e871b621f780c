"""Folds and inner splits: each row once, no group cut, every class in every part that can have it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agwm.errors import AgwmWarning, DataError, SplitError
from agwm.model_selection.folds import inner_split, make_folds

CLASSES, LABELS, SCORES = "single_label_classification", "multi_label_classification", "regression"


def check_whole(folds, groups, num_repeats):
    every = np.arange(len(groups))
    for fold in folds:
        assert np.array_equal(np.sort(np.concatenate([fold.train, fold.test])), every)
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert len(fold.train) and len(fold.test)
        assert np.array_equal(fold.test, np.sort(fold.test)) and np.array_equal(
            fold.train, np.sort(fold.train)
        )
    for repeat in range(num_repeats):
        held_out = [fold.test for fold in folds if fold.repeat == repeat]
        assert np.array_equal(np.sort(np.concatenate(held_out)), every)
    assert {fold.repeat for fold in folds} == set(range(num_repeats))


def test_classes_are_shared_out_evenly():
    labels = np.repeat([0, 1, 2], [250, 35, 15])
    folds = make_folds(labels, np.arange(300), CLASSES, 5, 2, seed=3)
    check_whole(folds, np.arange(300), 2)
    for fold in folds:
        assert np.bincount(labels[fold.test]).tolist() == [50, 7, 3]


def test_repeats_and_seeds_have_other_folds_and_the_same_seed_the_same():
    labels, groups = np.tile([0, 1], 30), np.arange(60)
    first = [fold.test.tolist() for fold in make_folds(labels, groups, CLASSES, 5, 2, seed=3)]
    assert first == [fold.test.tolist() for fold in make_folds(labels, groups, CLASSES, 5, 2, seed=3)]
    assert first[:5] != first[5:]
    assert first != [fold.test.tolist() for fold in make_folds(labels, groups, CLASSES, 5, 2, seed=4)]
    # More repetitions keep the folds of those that were there.
    assert first == [fold.test.tolist() for fold in make_folds(labels, groups, CLASSES, 5, 3, seed=3)][:10]


def test_groups_are_not_cut():
    labels, groups = np.tile([0, 1], 60), np.repeat(np.arange(40), 3)  # most groups have both classes
    check_whole(make_folds(labels, groups, CLASSES, 4, 2, seed=0), groups, 2)


@pytest.mark.parametrize("is_repeated", [False, True])
def test_a_stratum_reaches_all_parts_with_and_without_repeated_texts(is_repeated):
    labels, groups = np.repeat([0, 1, 2], [36, 12, 6]), np.arange(54)
    if is_repeated:
        groups[1] = groups[0]
    folds = make_folds(labels, groups, CLASSES, 6, 1, seed=0)
    check_whole(folds, groups, 1)
    assert all(np.bincount(labels[fold.test])[1:].tolist() == [2, 1] for fold in folds)


def test_scores_are_spread():
    labels = np.concatenate([np.zeros(50), np.linspace(1, 5, 50)])  # many ties
    folds = make_folds(labels, np.arange(100), SCORES, 5, 1, seed=1)
    check_whole(folds, np.arange(100), 1)
    assert {(labels[fold.test] == 0).sum() for fold in folds} == {10}
    assert np.std([labels[fold.test].mean() for fold in folds]) < 0.1


def test_label_sets_are_spread_and_rare_ones_by_their_rarest_label():
    labels = np.zeros((120, 4), int)
    labels[:60, 0] = labels[40:80, 1] = 1  # three common sets, and 40 rows without a label
    labels[:8:2, 2] = labels[80:86, 2] = 1  # sets of 4 and of 6 rows: label 2 has 10
    labels[0, 3] = 1
    said = []
    folds = make_folds(labels, np.arange(120), LABELS, 5, 1, seed=2, notice=said.append)
    check_whole(folds, np.arange(120), 1)
    for fold in folds:
        counts = labels[fold.test].sum(axis=0)
        assert 10 <= counts[0] <= 14 and 7 <= counts[1] <= 9 and 1 <= counts[2] <= 3
    assert said == [
        "Label 3 is so rare that some held-out parts have none of it.",
        "Label 3 is so rare that some training parts have none of it.",
    ]


def test_rare_class_takes_fewer_folds_and_says_so():
    labels = np.repeat([0, 1], [40, 4])
    said = []
    folds = make_folds(
        labels, np.arange(44), CLASSES, 5, 1, 0, label_names=["ham", "spam"], notice=said.append
    )
    assert len(folds) == 4 and all((labels[fold.test] == 1).sum() == 1 for fold in folds)
    assert said == [
        "4 folds are made, not 5: there are 4 different texts of class 'spam'. More rows allow more folds."
    ]
    with pytest.warns(AgwmWarning, match="4 folds are made, not 5"):
        make_folds(labels, np.arange(44), CLASSES, 5, 1, 0)


def test_class_of_two_texts_is_in_each_training_part():
    labels, said = np.repeat([0, 1], [40, 2]), []
    folds = make_folds(labels, np.arange(42), CLASSES, 5, 2, 0, notice=said.append)
    check_whole(folds, np.arange(42), 2)
    assert len(folds) == 6 and all(1 in labels[fold.train] for fold in folds)
    assert said[1:] == ["Class 1 is so rare that some held-out parts have none of it."]


def test_a_hundred_classes_of_two_texts():
    labels, said = np.repeat(np.arange(100), 2), []
    folds = make_folds(labels, np.arange(200), CLASSES, 5, 1, 0, notice=said.append)
    check_whole(folds, np.arange(200), 1)
    assert len(folds) == 3 and all(len(set(labels[fold.train])) == 100 for fold in folds)
    train, dev = inner_split(labels, np.arange(200), CLASSES, 0.2, 0, notice=said.append)
    assert len(set(labels[train])) == 100 and 30 < len(dev) < 50


@pytest.mark.parametrize("groups", [np.arange(5), np.array([0, 1, 2, 3, 3])])
def test_class_of_one_text_is_refused(groups):
    labels = [0, 0, 0, 1, 1] if groups[4] == 3 else [0, 0, 0, 0, 1]
    with pytest.raises(
        DataError, match="two different texts or more of every class, got 1 of 'spam'. Add rows"
    ):
        make_folds(labels, groups, CLASSES, 5, 1, 0, label_names=["ham", "spam"])


def test_too_little_is_refused():
    with pytest.raises(DataError, match="four different texts or more, got 3"):
        make_folds([0.1, 0.2, 0.3, 0.4], np.array([0, 1, 2, 2]), SCORES, 5, 1, 0)
    with pytest.raises(DataError, match="got no row"):
        make_folds([], np.arange(0), CLASSES, 5, 1, 0)
    with pytest.raises(SplitError, match="got 1 and 1"):
        make_folds([0, 1] * 9, np.arange(18), CLASSES, 1, 1, 0)
    with pytest.raises(SplitError, match="got 5 and 0"):
        make_folds([0, 1] * 9, np.arange(18), CLASSES, 5, 0, 0)


def test_smallest_data_that_work():
    said = []
    folds = make_folds([0, 1, 0, 1], np.arange(4), CLASSES, 5, 1, 0, notice=said.append)
    check_whole(folds, np.arange(4), 1)
    assert all(len({fold.train[i] % 2 for i in range(len(fold.train))}) == 2 for fold in folds)
    check_whole(make_folds([0.5] * 4, np.arange(4), SCORES, 2, 1, 0), np.arange(4), 1)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=40), st.integers(0, 9)
)
def test_any_rows_are_split_or_refused(rows, seed):
    labels, groups = np.array([label for label, _ in rows]), np.array([group for _, group in rows])
    said = []
    try:
        folds = make_folds(labels, groups, CLASSES, 5, 2, seed, notice=said.append)
    except DataError:
        return
    check_whole(folds, groups, 2)
    for fold in folds:
        lacking = set(labels) - set(labels[fold.train])
        assert all(
            f"Class {c} is so rare that some training parts have none of it." in said for c in lacking
        )
        try:
            train, dev = inner_split(
                labels[fold.train], groups[fold.train], CLASSES, 0.2, seed, notice=said.append
            )
        except DataError:
            continue
        inner = groups[fold.train]
        assert len(dev) and not set(inner[train]) & set(inner[dev]) and len(train) + len(dev) == len(inner)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_inner_split_has_the_fraction_and_all_classes(fraction):
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    train, dev = inner_split(labels, np.arange(100), CLASSES, fraction, seed=5)
    assert len(dev) == pytest.approx(100 * fraction) and len(train) + len(dev) == 100
    assert np.bincount(labels[dev]).tolist() == [60 * fraction, 30 * fraction, 10 * fraction]


def test_inner_split_keeps_single_texts_for_training():
    labels, groups = np.repeat([0, 1, 2], [10, 10, 2]), np.array([*range(20), 20, 20])
    for seed in range(5):
        said = []
        train, dev = inner_split(labels, groups, CLASSES, 0.5, seed, notice=said.append)
        assert {20, 21} <= set(train) and set(labels[dev]) == {0, 1}
        assert said == ["Class 2 is so rare that the held-out part has none of it."]


def test_inner_split_prefers_a_part_with_the_rare_classes():
    labels = np.repeat([0, 1, 2], [90, 2, 2])
    for seed in range(5):
        train, dev = inner_split(labels, np.arange(94), CLASSES, 0.2, seed)
        assert set(labels[train]) == set(labels[dev]) == {0, 1, 2}


def test_inner_split_of_scores_and_labels():
    train, dev = inner_split(np.linspace(0, 1, 40), np.arange(40), SCORES, 0.25, 0)
    assert len(dev) == 10 and len(train) == 30
    labels = np.random.default_rng(0).integers(0, 2, (40, 3))
    train, dev = inner_split(labels, np.arange(40), LABELS, 0.25, 0)
    assert 7 <= len(dev) <= 13 and labels[dev].any(axis=0).all() and labels[train].any(axis=0).all()


def test_inner_split_refuses_what_cannot_be():
    with pytest.raises(SplitError, match="in \\(0, 0.5\\], got 0.6"):
        inner_split([0, 1] * 5, np.arange(10), CLASSES, 0.6, 0)
    with pytest.raises(DataError, match="two different texts or more whose class has others, got 0"):
        inner_split([0, 1, 2], np.arange(3), CLASSES, 0.2, 0)
