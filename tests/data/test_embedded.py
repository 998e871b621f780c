"""The embedded data: fixed by its seed, without overlap, balanced and varied."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import subprocess
import sys

import pytest

from agwm.data import EMBEDDED_TASKS, embedded_rows
from agwm.data.embedded.rows import EMBEDDED_GENERATORS
from agwm.errors import DataError

PROGRAM = """
import hashlib
from agwm.data import embedded_rows
for name in ("acceptability", "paraphrase", "entailment", "similarity"):
    print(hashlib.sha256(repr(embedded_rows(name, 50, 50)).encode()).hexdigest())
"""


@functools.cache
def rows_of(name: str) -> object:
    """Return all rows of a task, written once for all tests."""
    return embedded_rows(name)


def digest(rows: object) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def test_rows_do_not_depend_on_the_process() -> None:
    other = "0" if os.environ.get("PYTHONHASHSEED") != "0" else "123"
    environment = {**os.environ, "PYTHONHASHSEED": other}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [digest(embedded_rows(name, 50, 50)) for name in EMBEDDED_TASKS]


def test_global_random_state_is_neither_read_nor_changed() -> None:
    random.seed(1)
    before = random.getstate()
    first = embedded_rows("entailment", 20, 20)
    assert random.getstate() == before
    random.seed(2)
    assert embedded_rows("entailment", 20, 20) == first


@pytest.mark.parametrize("name", EMBEDDED_TASKS)
def test_no_example_appears_twice(name: str) -> None:
    train, test = rows_of(name)
    keys = [tuple(sorted(texts)) for texts, _ in (*train, *test)]
    assert len(set(keys)) == len(keys) == 2500
    assert all(texts[0] != texts[-1] for texts, _ in (*train, *test) if len(texts) == 2)


@pytest.mark.parametrize("name", EMBEDDED_TASKS)
def test_test_rows_do_not_depend_on_train_size(name: str) -> None:
    assert embedded_rows(name, 10, 50)[1] == embedded_rows(name, 100, 50)[1]
    assert embedded_rows(name, 10, 50, seed=1)[1] != embedded_rows(name, 10, 50, seed=2)[1]


@pytest.mark.parametrize("name", EMBEDDED_TASKS[:3])
def test_labels_are_near_balanced(name: str) -> None:
    for rows in rows_of(name):
        labels = [label for _, label in rows]
        assert set(labels) == {0.0, 1.0}
        assert 0.43 < sum(labels) / len(labels) < 0.57


def test_scores_cover_the_scale() -> None:
    scores = [score for _, score in rows_of("similarity")[0]]
    assert min(scores) == 0.0 and max(scores) == 5.0
    assert len(set(scores)) > 20
    for low in range(5):
        assert sum(low <= score <= low + 1 for score in scores) > 60


@pytest.mark.parametrize("name", EMBEDDED_TASKS)
def test_texts_look_like_sentences(name: str) -> None:
    train, _ = rows_of(name)
    for texts, _ in train:
        for text in texts:
            assert text[0].isupper() and text[-1] in ".?" and text.isascii()
            assert "  " not in text and " ." not in text and " ?" not in text
            assert 2 <= len(text.split()) <= 40
    words = {word.strip(".,?").lower() for texts, _ in train for text in texts for word in text.split()}
    assert len(words) > 250


def test_plain_wording() -> None:
    words = {
        w.strip(".,?") for name in EMBEDDED_TASKS for t, _ in rows_of(name)[0] for s in t for w in s.split()
    }
    assert {"geese", "bakers", "couch"} <= words
    assert not {"gooses", "couchs", "scarfs", "benchs"} & words


def test_wrong_arguments() -> None:
    assert tuple(EMBEDDED_GENERATORS) == EMBEDDED_TASKS
    with pytest.raises(DataError, match="embedded task is unknown: .*got 'rte'"):
        embedded_rows("rte")
    with pytest.raises(DataError, match=r"train_size .* expected an integer in \[1, 50000\], got 0"):
        embedded_rows("entailment", 0)
    with pytest.raises(DataError, match="test_size .* got 50001"):
        embedded_rows("entailment", 10, 50_001)
    with pytest.raises(DataError, match="seed of the embedded data is out of range: .*got -1"):
        embedded_rows("entailment", 10, 10, -1)
