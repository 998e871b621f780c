"""What is said of training and test set: counts, and what looks like a mistake."""

from __future__ import annotations

import unicodedata

import datasets
import pytest

from agwm.data.doubts import data_doubts
from agwm.data.summary import PartFacts, part_facts, part_line
from agwm.data.tasks import Task

SOURCES = ("train.csv", "test.csv")
TASK = Task("mails", ("sentence1", "sentence2"), ("bug", "praise"))


def rows(*examples):
    columns = zip(*examples, strict=True)
    names = ("sentence1", "sentence2", "label")
    return datasets.Dataset.from_dict(dict(zip(names, map(list, columns), strict=True)))


def test_both_texts_make_an_example():
    train = rows(("a", "b", 0), ("a", "c", 0), ("a", "b", 1), ("a", "b", 0), ("", "x", 1), (" ", "y", 1))
    facts = part_facts(train, rows(("a", "c", 1), ("c", "a", 1)), TASK)
    assert facts == PartFacts(6, {"bug": 3, "praise": 3}, None, 2, 1, 2, 1)
    assert part_line("train.csv", facts, "test.csv", "3 texts cut at 8 tokens") == (
        "train.csv: 6 examples, 2 classes: bug 3, praise 3; 3 texts cut at 8 tokens; 2 empty; 1 also in"
        " test.csv; 2 repeated, 1 of them with another label."
    )


def test_scores_are_summed_up_as_numbers():
    task = Task("scores", ("sentence1",), None, "spearman")
    data = datasets.Dataset.from_dict({"sentence1": ["a", "b", "c"], "label": [0.0, 1.0, 5.0]})
    facts = part_facts(data, data, task)
    line = part_line("x.csv", facts, "y.csv", "")
    assert line == "x.csv: 3 examples, scores from 0 to 5, mean 2; 3 also in y.csv."


def test_many_classes_and_odd_names_stay_one_readable_line():
    classes = {f"class {number}": number for number in range(1, 13)} | {"a\nb": 20, "x" * 300: 30}
    line = part_line("x", PartFacts(128, classes, None, 0, 0, 0, 0), "y", "")
    assert "14 classes" in line and line.endswith("6 more.") and len(line) < 400
    assert "'a\\nb' 20" in line and "\n" not in line


def facts(classes, shared=0, number=None):
    return PartFacts(number or sum(classes.values()), classes, None, 0, shared, 0, 0)


PLAIN = facts({"bug": 5, "praise": 5})


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (facts({"a": 5, "b": 5}, 10), facts({"a": 5, "b": 5}, 10), "hold the same texts"),
        (PLAIN, facts({"bug": 5, "praise": 5}, 2), "2 of 10 texts of test.csv are in train.csv"),
        (facts({"Bug": 5, "bug": 5}), facts({"Bug": 1, "bug": 1}), "'Bug' and 'bug' differ in case"),
        (facts({"a b": 5, "a  b": 5}), facts({"a b": 1, "a  b": 1}), "differ in case, spaces"),
        (facts({"bug": 9, "praise": 1}), PLAIN, "class 'praise' has one example alone"),
        (facts({f"{n}": 1 for n in range(30)}), None, "30 classes in 30 examples: is the label column"),
        (facts({"-1": 3, "0": 5, "1": 5}), None, "class '-1': does it mark examples without a label"),
        (PLAIN, facts({"bug": 5, "praise": 0}), "test.csv: no example of class 'praise'"),
    ],
)
def test_doubts(train, test, message):
    lines = data_doubts(train, test or train, SOURCES)
    assert len(lines) == 1 and message in lines[0], lines


def test_unicode_forms_of_one_name_can_be_told_apart():
    one, other = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    (line,) = data_doubts(facts({one: 5, other: 5}), facts({one: 5, other: 5}), SOURCES)
    assert "'caf\\xe9' and 'cafe\\u0301'" in line


def test_nothing_is_said_where_nothing_is_doubtful():
    assert data_doubts(PLAIN, PLAIN, SOURCES) == []
