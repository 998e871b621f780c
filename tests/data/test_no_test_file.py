"""A training file without a test file: the set of test examples is empty, and what is said of it holds."""

from __future__ import annotations

import pytest

from agwm.data import load_files
from agwm.data.doubts import data_doubts
from agwm.data.summary import part_facts, part_line
from agwm.errors import DataError
from tests.data.reading import write


@pytest.mark.parametrize("labels", [("good", "bad"), ("0.5", "1.0")])
def test_test_set_has_the_columns_and_types_and_no_row(tmp_path, labels) -> None:
    path = write(tmp_path / "a.csv", f"text,label\nx,{labels[0]}\ny,{labels[1]}\n")
    data, whole = load_files(path), load_files(path, path)
    assert len(data.test) == 0 and data.test.features == whole.test.features
    assert data.train.to_dict() == whole.train.to_dict() and data.task == whole.task
    assert data.sources == ("a.csv", "")


@pytest.mark.parametrize("labels", [("good", "bad"), ("0.5", "1.0")])
def test_summary_takes_an_empty_test_set(tmp_path, labels) -> None:
    path = write(tmp_path / "a.csv", "text,label\n" + "".join(f"x{n},{labels[n % 2]}\n" for n in range(10)))
    data = load_files(path)
    train, test = (
        part_facts(*parts, data.task) for parts in ((data.train, data.test), (data.test, data.train))
    )
    assert train.num_shared == 0 and test.num_examples == 0 and test.scores is None
    assert data_doubts(train, test, data.sources) == []
    assert part_line(data.sources[0], train, data.sources[1], "").startswith("a.csv: 10 examples, ")
    assert part_line(data.sources[1], test, data.sources[0], "") == "test set: no examples."


def test_options_are_checked_against_the_one_file(tmp_path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "x", "label": 1}\n{"text": "y", "label": 0}\n')
    with pytest.raises(
        DataError, match=r"Option separator is for csv, tsv files: expected one, got json\."
    ):
        load_files(path, separator=";")
    with pytest.raises(DataError, match="expected 1 or 2, got 0"):
        load_files(path, text_columns=[])
