"""Parquet and Excel: cells with types, names of classes in the file, damage."""

from __future__ import annotations

import builtins
import datetime
from decimal import Decimal
from pathlib import Path

import datasets
import openpyxl
import pyarrow as pa
import pytest
from pyarrow import parquet

from agwm.data import load_files
from agwm.errors import DataError, MissingExtraError
from tests.data.reading import notes, refused, rows, write


def load(path: Path, test: Path | None = None, **options: object):
    return load_files(path, test or path, ["text"], "label", **options)


def table(path: Path, labels: object, texts: object = ("a", "b")) -> Path:
    parquet.write_table(pa.table({"text": pa.array(texts), "label": labels}), path)
    return path


def class_labels(path: Path, labels: list[int], names: list[str]) -> Path:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    data = {"text": [f"t{at}" for at in range(len(labels))], "label": labels}
    datasets.Dataset.from_dict(data, features).to_parquet(path)
    return path


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([2**53 + 1, 2**53], (str(2**53), str(2**53 + 1))),
        ([Decimal("2.00"), Decimal("1.00")], ("1", "2")),
        ([b"y", b"x"], ("x", "y")),
        (pa.array(["y", "x"]).dictionary_encode(), ("x", "y")),
        (pa.array(["y", "x"], pa.large_string()), ("x", "y")),
        ([datetime.date(2024, 1, 2), datetime.date(2023, 1, 2)], ("2023-01-02", "2024-01-02")),
        ([True, False], ("False", "True")),
        ([1.0, 0.0], ("0", "1")),
    ],
)
def test_types_of_labels(tmp_path: Path, labels: object, classes: tuple) -> None:
    data = load(table(tmp_path / "a.parquet", labels))
    assert data.task.label_names == classes and data.train["label"][:] == [1, 0]


@pytest.mark.parametrize(
    "labels", [[Decimal("0.50"), Decimal("1.25")], pa.array([0.5, 1.25], pa.float16())]
)
def test_scores(tmp_path: Path, labels: object) -> None:
    assert rows(load(table(tmp_path / "a.parquet", labels))) == [("a", 0.5), ("b", 1.25)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["x", "z"], ["y"]], r"example 1 is a list: expected one label an example, got \['x', 'z'\]"),
        ([{"x": 1}, {"x": 2}], "example 1 is of type dict"),
        ([1, None], "No label in .*example 2: .*none in 1 of 2"),
        ([0.5, float("nan")], "No label in .*example 2"),
        ([0.5, float("inf")], "example 2 is not finite"),
        ([1.2345678901234567e19, 1.0], "has lost digits"),
        ([b"\xff", b"x"], "example 1 is no text: expected UTF-8"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(table(tmp_path / "a.parquet", labels), multi_label=False)


def test_texts_in_bytes(tmp_path: Path) -> None:
    data = load(table(tmp_path / "a.parquet", ["x", "y"], ["ä".encode(), b"b"]))
    assert rows(data) == [("ä", "x"), ("b", "y")]
    with pytest.raises(DataError, match=r"No text in .*example 1, column 'text': expected UTF-8"):
        load(table(tmp_path / "a.parquet", ["x", "y"], [b"\xff", b"b"]))


def test_names_of_classes_are_matched_by_name(tmp_path: Path) -> None:
    train = class_labels(tmp_path / "a.parquet", [1, 0, 1], ["bad", "good", "odd"])
    test = class_labels(tmp_path / "b.parquet", [1, 0], ["good", "bad"])
    data = load(train, test)
    assert data.task.label_names == ("bad", "good", "odd")
    assert rows(data) == [("t0", "good"), ("t1", "bad"), ("t2", "good")]
    assert rows(data, "test") == [("t0", "bad"), ("t1", "good")]
    assert data.notes == ("a.parquet: no example of class 'odd'",)
    texts = write(tmp_path / "b.csv", "text,label\nq,good\n")
    assert rows(load(train, texts), "test") == [("q", "good")] and rows(load(test, texts))[0] == (
        "t0",
        "bad",
    )
    assert load(train, label_names=["odd", "good", "bad"]).train["label"][:] == [1, 2, 1]
    with pytest.raises(DataError, match=r"b.csv line 2 .*expected one of 'bad', 'good', 'odd', got '1'"):
        load(train, write(texts, "text,label\nq,1\n"))


def test_examples_without_a_label(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No class in .*example 2: expected a label from 0 to 1, got -1"):
        load(class_labels(tmp_path / "a.parquet", [1, -1], ["bad", "good"]))


def test_columns_go_by_their_whole_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    content = {"a.b": ["x", "y"], "a": [{"b": "no"}, {"b": "no"}], "label": ["p", "q"]}
    parquet.write_table(pa.table(content), path)
    assert load_files(path, path, ["a.b"], "label").train["sentence1"][:] == ["x", "y"]
    twice = pa.Table.from_arrays([pa.array(["x"])] * 3, names=["text", "label", "label"])
    parquet.write_table(twice, path)
    with pytest.raises(DataError, match="repeats column 'label'"):
        load(path)


def sheet(path: Path, lines: list[list], *others: str) -> Path:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    for name in others:
        book.create_sheet(name).append(["text", "label"])
        book[name].append(["c", 0])
        book[name].append(["d", 1])
    book.save(path)
    return path


def test_sheets(tmp_path: Path) -> None:
    lines = [[None], ["id", "text", "label", None], [1, "a", "x"], [None], [2, "007", "y"]]
    path = sheet(tmp_path / "a.xlsx", lines, "more")
    data = load(path)
    assert rows(data) == [("a", "x"), ("007", "y")]
    assert notes(data) == "sheet 'Sheet' read, not 'more'; 2 blank rows left out"
    assert rows(load(path, sheet="more")) == [("c", "0"), ("d", "1")]
    with pytest.raises(DataError, match=r"no sheet 'mere': expected one of \['Sheet', 'more'\]"):
        load(path, sheet="mere")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([7, "y"], r"No text in .*a.xlsx row 3 \(example 2\), column 'text': expected a string, got 7"),
        ([None, "y"], "row 3 .*got None"),
        (["b", None], "No label in .* row 3"),
        (["b", "#N/A"], "row 3 has an error in column 'label'"),
    ],
)
def test_cells_of_a_sheet_that_are_no_text_or_label(tmp_path: Path, row: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(sheet(tmp_path / "a.xlsx", [["text", "label"], ["a", "x"], row]))


def test_without_openpyxl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sheet(tmp_path / "a.xlsx", [["text", "label"], ["a", "x"], ["b", "y"]])
    real = builtins.__import__

    def fail(name: str, *rest: object) -> object:
        if name == "openpyxl":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(MissingExtraError, match=r"pip install 'agwm\[excel\]', or save the sheet as .csv"):
        load(path)


def test_damaged_files(tmp_path: Path) -> None:
    whole = table(tmp_path / "a.parquet", ["x", "y"]).read_bytes()
    refused(tmp_path / "b.parquet", whole[:-20], "expected a Parquet file, got")
    whole = sheet(tmp_path / "a.xlsx", [["text", "label"]]).read_bytes()
    refused(tmp_path / "b.xlsx", whole[:-20], "expected an .xlsx file, got")
