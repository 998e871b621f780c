"""Labels keep their spelling and their type; classes, positions and scores are told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agwm.data import load_files
from agwm.errors import DataError
from tests.data.reading import notes, rows, write

ID = 12345678901234567890


def load(folder: Path, train: list, test: list | None = None, **options: object):
    paths = []
    for name, labels in (("train", train), ("test", train if test is None else test)):
        if all(isinstance(label, str) for label in labels):
            body = "text,label\n" + "".join(f'x,"{label}"\n' for label in labels)
            paths.append(write(folder / f"{name}.csv", body))
        else:
            lines = [json.dumps({"text": "x", "label": label}) for label in labels]
            paths.append(write(folder / f"{name}.jsonl", "\n".join(lines)))
    return load_files(*paths, ["text"], "label", **options)


@pytest.mark.parametrize(
    ("labels", "classes", "told"),
    [
        (["10", "2", "2"], ("2", "10"), ""),
        (["10", "1", "01"], ("01", "1", "10"), ""),
        (["1_0", "10"], ("10", "1_0"), ""),
        (["１", "1"], ("1", "１"), ""),
        (["+1", "1", "-1"], ("-1", "+1", "1"), ""),
        (["2024-1-2", "2024-01-02"], ("2024-01-02", "2024-1-2"), ""),
        ([str(ID), str(ID + 1)], (str(ID), str(ID + 1)), ""),
        ([ID + 1, ID], (str(ID), str(ID + 1)), ""),
        (["1.0", "0.0"], ("0", "1"), "labels 0.0, 1.0 are whole numbers: classes 0, 1"),
        (["1.0", "0", "1"], ("0", "1"), "labels 1.0 are whole numbers: classes 1"),
        ([1.0, 0, 1], ("0", "1"), "labels 1.0 are whole numbers: classes 1"),
        (["1.0", "one"], ("1.0", "one"), ""),
        (["True", "true"], ("True", "true"), ""),
        ([True, False], ("False", "True"), ""),
        ([" good", "good", "bad"], ("bad", "good"), "blanks around labels removed: 'good' is one class"),
        ([" good", "bad"], ("bad", "good"), ""),
        (["None", "1"], ("1", "None"), "'None' is a class (1 rows): is it a missing label?"),
        (["nan", "b"], ("b", "nan"), "'nan' is a class (1 rows): is it a missing label?"),
        (
            [1, "1", 2],
            ("1", "2"),
            "labels are of several types (number 2, text 1): those written alike are",
        ),
    ],
)
def test_classes(tmp_path: Path, labels: list, classes: tuple, told: str) -> None:
    data = load(tmp_path, labels)
    assert data.task.label_names == classes
    assert notes(data).startswith(told) and bool(data.notes) == bool(told)
    changed = {"1.0": "1", "0.0": "0"} if "one" not in labels else {}
    spelled = [str(label).strip() for label in labels]
    assert [name for _, name in rows(data)] == [changed.get(label, label) for label in spelled]


def test_scores(tmp_path: Path) -> None:
    data = load(tmp_path, ["0.5", "1", "1e1"])
    assert data.train["label"][:] == [0.5, 1.0, 10.0]
    assert data.notes[0] == "train.csv: labels are numbers with a fraction: scores, not classes"
    assert load(tmp_path, ["1e20", "1.0"], regression=True).train["label"][:] == [1e20, 1.0]
    assert load(tmp_path, ["1.10", "1.1"], regression=False).task.label_names == ("1.1", "1.10")


@pytest.mark.parametrize(
    ("train", "test", "options", "message"),
    [
        (["1", "2"], ["0"], {}, r"test.csv line 2 \(example 1\): expected one of '1', '2', got '0'"),
        (["1", "2"], ["01"], {}, "got '01'. Did you mean '1'"),
        (["1", "2"], ["1.5"], {}, "got '1.5'. .* those of the train file"),
        (["01", "2"], ["1.0"], {}, "got '1.0'"),
        (["0.5", "1"], ["good"], {}, "test.csv line 2 .*not a number.*train file are scores"),
        (["0", "nan", "1"], None, {}, r"train.csv line 3 \(example 2\) is not finite"),
        (
            ["1", "12345678901234567890.0"],
            None,
            {},
            r"line 3 \(example 2\) has lost digits: .*or pass regression",
        ),
        (["0.5", "inf"], None, {}, "line 3 .*is not finite"),
        (["1_0", "2"], None, {"regression": True}, "not a number.*got '1_0'"),
        ([True, False], None, {"regression": True}, "not a number.*got 'True'"),
        (["1,5", "2", "3,25"], None, {}, "have a decimal comma: expected 0.5, got '1,5'"),
        (["1,5", "2"], None, {"regression": True}, "got '1,5'. Write decimals with a point"),
        ([["a"], ["b"]], None, {"multi_label": False}, r"train.jsonl example 1 is a list: .*or pass multi"),
        ([{"a": 1}, "b"], None, {}, "example 1 is of type dict"),
        (["x" * 100_000, "b"], ["y" * 100_000], {}, r"got 'y+\.\.\."),
        (["a", "", "b", " "], None, {}, r"No label in .*train.csv line 3 .*none in 2 of 4"),
        (["a", "b"], None, {"label_names": ["a", "a"]}, "two or more different ones"),
        (["a", "b"], None, {"label_names": ["a", ""]}, "two or more different ones"),
        (["a", "b"], None, {"label_names": "ab"}, "expected texts"),
        (["0", "1"], None, {"label_names": [0, 1]}, r"expected texts .*got \[0, 1\]"),
        (["a", "b"], None, {"label_names": ["a ", "b"]}, "without blanks"),
        (["0", "no"], None, {"label_names": ["no", "yes"]}, "expected one of 'no', 'yes', got '0'"),
        (["1", "2"], None, {"label_names": ["no", "yes"]}, "got '1'"),
        (["a", "b"], None, {"metric": "f1", "positive": "c"}, "wrong positive class"),
        (["a", "b"], None, {"positive": "a"}, "expected metric 'f1'"),
    ],
)
def test_labels_that_do_not_fit(
    tmp_path: Path, train: list, test: list | None, options: dict, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, train, test, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_names_of_the_user(tmp_path: Path) -> None:
    names = ["no", "yes", "so"]
    data = load(tmp_path, ["1", "0"], label_names=names)
    assert data.train["label"][:] == [1, 0]
    assert data.notes[:2] == (
        "train.csv: labels are positions in label_names: 0 = 'no', 1 = 'yes', 2 = 'so'",
        "train.csv: no example of class 'so'",
    )
    assert load(tmp_path, ["0.0", "1.0"], label_names=names).train["label"][:] == [0, 1]
    assert load(tmp_path, ["1", "0"], label_names=["1", "0"]).train["label"][:] == [0, 1]
    assert load(tmp_path, ["yes", "no"], label_names=names).train["label"][:] == [1, 0]


def test_whole_floats_in_one_file_alone(tmp_path: Path) -> None:
    data = load(tmp_path, ["0", "1"], ["1.0", "0.0"])
    assert data.test["label"][:] == [1, 0]
    assert data.notes == ("test.csv: labels 0.0, 1.0 are whole numbers: classes 0, 1",)


def test_f1_of_the_class_that_is_asked_for(tmp_path: Path) -> None:
    data = load(tmp_path, ["abusive", "normal"], metric="f1", positive="abusive")
    assert data.task.positive_class == "abusive" and data.notes == ("f1 is that of class 'abusive'",)
    assert load(tmp_path, ["abusive", "normal"], metric="f1").task.positive_class == "normal"
