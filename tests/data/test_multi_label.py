"""Several labels an example, from each kind of file and from rows in memory, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from agwm.data import DynamicPadding, TaskData, encode, load_files
from agwm.data.rows import load_rows
from agwm.data.summary import part_facts, part_line
from agwm.errors import DataError
from agwm.testing import pretrained

LABELS = [["bug", "ui"], [], ["ui"], ["speed", "bug"]]
NAMES = ("bug", "speed", "ui")
MATRIX = [[1, 0, 1], [0, 0, 0], [0, 0, 1], [1, 1, 0]]
TEXTS = ["a", "b", "c", "d"]


def matrix(data: TaskData, part: str = "train") -> list[list[int]]:
    return getattr(data, part)["label"][:]


def table(labels: list) -> pd.DataFrame:
    return pd.DataFrame({"text": TEXTS[: len(labels)], "label": labels})


def csv(path: Path, labels: list) -> Path:
    table(labels).to_csv(path, index=False)
    return path


def load(path: Path, test: Path | None = None, **options: object) -> TaskData:
    return load_files(path, test, **{"text_columns": "text", "label_column": "label", **options})


def refused(labels: list, message: str, test: list | None = None, **options: object) -> None:
    given = None if test is None else table(test)
    with pytest.raises(DataError, match=message) as caught:
        load_rows(table(labels), "text", "label", given, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize("kind", ["json", "parquet", "dicts", "frame", "arrays", "dataset"])
def test_lists_are_told_by_their_type(tmp_path: Path, kind: str) -> None:
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    if kind == "json":
        path = tmp_path / "a.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        data = load(path, path)
        assert matrix(data, "test") == MATRIX
    elif kind == "parquet":
        table(LABELS).to_parquet(tmp_path / "a.parquet")
        data = load(tmp_path / "a.parquet")
    else:
        forms = {
            "dicts": rows,
            "frame": table(LABELS),
            "arrays": table([np.array(one, dtype=object) for one in LABELS]),
            "dataset": datasets.Dataset.from_list(rows),
        }
        data = load_rows(forms[kind], "text", "label")
    task = data.task
    assert (task.label_names, task.problem_type) == (NAMES, "multi_label_classification")
    assert task.metric == "micro_f1" and matrix(data) == MATRIX
    assert any("1 row without any label" in note for note in data.notes)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["bug;ui", "", "ui", "speed; bug"], "labels of column 'label' are separated by ';'"),
        (["bug|ui", None, "ui", "speed|bug|"], "separated by '|'"),
        (["bug, ui", " ", "ui", "speed,bug,bug"], "separated by ','"),
        ([json.dumps(one) for one in LABELS], "column 'label' holds lists written as text"),
        ([str(one) for one in LABELS], "column 'label' holds lists written as text"),
        (['["bug", "ui"]', "", '["ui"]', '["speed", "bug"]'], "lists written as text"),
    ],
)
def test_lists_in_text(tmp_path: Path, cells: list, told: str) -> None:
    data = load(csv(tmp_path / "a.csv", cells), multi_label=True)
    assert data.task.label_names == NAMES and matrix(data) == MATRIX
    assert any(told in note for note in data.notes)
    # nothing but the cells' own type makes a text a list
    if None not in cells and "" not in cells and " " not in cells:
        assert not load(tmp_path / "a.csv").task.multi_label


def test_the_first_separator_in_the_training_rows_is_taken(tmp_path: Path) -> None:
    train = csv(tmp_path / "train.csv", ["a, b;c", "c", "", "a, b"])
    data = load(train, csv(tmp_path / "test.csv", ["c", "a, b"]), multi_label=True)
    assert data.task.label_names == ("a, b", "c")
    assert matrix(data, "test") == [[0, 1], [1, 0]]
    data = load(csv(tmp_path / "one.csv", ["c", "b", "c"]), multi_label=True)
    assert matrix(data) == [[0, 1], [1, 0], [0, 1]]
    assert any("one a row at most: no cell has ;, | or ," in note for note in data.notes)


@pytest.mark.parametrize(
    ("yes", "no"), [(1, 0), (1.0, 0.0), (True, False), ("yes", "No"), ("1", "0"), ("TRUE", "false")]
)
def test_columns_of_zeros_and_ones(yes: object, no: object, tmp_path: Path) -> None:
    columns = {name: [yes if row[at] else no for row in MATRIX] for at, name in enumerate(NAMES)} | {
        "text": TEXTS
    }
    for data in (
        load_rows(columns, "text", NAMES),
        load_rows(pd.DataFrame(columns), "text", NAMES, pd.DataFrame(columns)),
    ):
        assert data.task.label_names == NAMES and matrix(data) == MATRIX and data.task.multi_label
    pd.DataFrame(columns).to_csv(tmp_path / "a.csv", index=False)
    data = load(tmp_path / "a.csv", tmp_path / "a.csv", label_column=["speed", "ui"])
    assert data.task.label_names == ("speed", "ui")
    assert matrix(data, "test") == [row[1:] for row in MATRIX]
    named = load_rows(columns, "text", NAMES, label_names=["B", "S", "U"])
    assert named.task.label_names == ("B", "S", "U") and matrix(named) == MATRIX


@pytest.mark.parametrize("bad", [2, "maybe", "", None, 0.5, [1], "-1"])
def test_other_cells_in_such_columns(bad: object) -> None:
    rows = [{"text": "a", "x": 1, "y": 0}, {"text": "b", "x": 0, "y": bad}]
    with pytest.raises(
        DataError, match=r"No label in rows example 2, column 'y': expected 0 or 1 \(true or"
    ):
        load_rows(rows, "text", ["x", "y"])


def test_lists_of_zeros_and_ones() -> None:
    data = load_rows(table(MATRIX), "text", "label", label_names=NAMES)
    assert data.task.label_names == NAMES and matrix(data) == MATRIX
    data = load_rows(table(MATRIX), "text", "label", table([[0, 1, 1]]))
    assert data.task.label_names == ("0", "1", "2") and matrix(data, "test") == [[0, 1, 1]]
    assert any(
        "lists of zeros and ones for 3 labels, which are named by their position" in n for n in data.notes
    )
    # these are names, because none has one twice
    data = load_rows(table([[0, 1], [1]]), "text", "label")
    assert data.task.label_names == ("0", "1") and matrix(data) == [[1, 1], [0, 1]]
    refused(MATRIX, "example 1 is wrong: expected 3 zeros and ones, got", [[0, 1]])
    refused(MATRIX, "example 1 is wrong: expected 3 zeros and ones, got", [[0, 2, 1]])


def test_names_of_a_data_set_are_kept() -> None:
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.List(datasets.ClassLabel(names=["z", "y", "x"])),
        }
    )
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [[0, 2], [1]]}, features=features)
    data = load_rows(rows, "text", "label")
    assert data.task.label_names == ("z", "y", "x") and matrix(data) == [[1, 0, 1], [0, 1, 0]]


def test_names_of_a_parquet_file_are_kept(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.List(datasets.ClassLabel(names=["z", "y"]))}
    )
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [[0], [1, 0]]}, features=features)
    rows.to_parquet(str(tmp_path / "a.parquet"))
    data = load(tmp_path / "a.parquet")
    assert data.task.label_names == ("z", "y") and matrix(data) == [[1, 0], [1, 1]]


def test_stated_names_and_positions() -> None:
    data = load_rows(table(LABELS), "text", "label", label_names=["ui", "bug", "speed", "text"])
    assert matrix(data) == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]]
    assert any("no example of label 'text'" in note for note in data.notes)
    data = load_rows(table([[0, 2], [1], [2]]), "text", "label", label_names=NAMES)
    assert matrix(data) == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]
    assert any("labels are positions in label_names: 0 = 'bug'" in note for note in data.notes)
    whole = load_rows(table([[10, 2], [9], []]), "text", "label")
    assert whole.task.label_names == ("2", "9", "10")
    one = load_rows(table([["spam"], [], ["spam", "spam"]]), "text", "label")
    assert one.task.label_names == ("spam",) and matrix(one) == [[1], [0], [1]]
    assert any("1 row with a label twice: it counts once" in note for note in one.notes)


def test_what_is_refused(tmp_path: Path) -> None:
    refused(LABELS, "expected one of 'bug', 'speed', 'ui', got 'bugs'.*Did you mean 'bug'", [["bugs"]])
    refused(LABELS, "got 'new'. The labels are those of rows.$", [["new"]])
    refused(LABELS, "is no list: expected a list as in other rows, got 'ui'", ["ui"])
    refused([["a"], [None]], "A label in rows example 2 is missing")
    refused([["a"], [["b"]]], "example 2 is a list: expected one label")
    refused([["a"], [{}]], "example 2 is of type dict")
    refused([[], []], "No example in rows has a label")
    refused(LABELS, "expected regression=False, got True", regression=True)
    refused(LABELS, "Write one label, or pass multi_label=True", multi_label=False)
    refused(LABELS, "roc_auc, log_loss for several labels", metric="matthews")
    refused(LABELS, "expected one or more different ones", label_names=[])
    for bad in ('["a", "b"', "[a]", "[1, [2", '{"a": 1}'):
        with pytest.raises(DataError, match=r"line 3 \(example 2\) is no list: expected"):
            load(csv(tmp_path / "a.csv", ['["a"]', bad]), multi_label=True)
    rows = {"text": ["a", "b"], "x": [1, 0], "y": [0, 1]}
    with pytest.raises(DataError, match="expected 2, got 1. Name each column"):
        load_rows(rows, "text", ["x", "y"], label_names=["x"])
    with pytest.raises(DataError, match="stands in one column: expected one, got 2"):
        load_rows(rows, "text", ["x", "y"], multi_label=False)
    with pytest.raises(DataError, match="A column is named twice"):
        load_rows(rows, "text", ["x", "x"])
    with pytest.raises(DataError, match="No label column"):
        load_rows(rows, "text", [])
    with pytest.raises(DataError, match="lacks column 'z'"):
        load_rows(rows, "text", ["x", "z"])


def test_counts_in_a_line() -> None:
    data = load_rows(table(LABELS), "text", "label")
    facts = part_facts(data.train, data.test, data.task)
    line = part_line("rows", facts, "", "")
    assert line == "rows: 4 examples, 3 labels: bug 2, ui 2, speed 1; 1 without a label."
    one = load_rows(table([["spam"], []]), "text", "label")
    assert "1 label: spam 1" in part_line("rows", part_facts(one.train, one.test, one.task), "", "")


def test_labels_are_encoded_and_padded_as_floats(tmp_path: Path) -> None:
    tokenizer = pretrained("bert", tmp_path=tmp_path).tokenizer
    data = load_rows(table(LABELS), "text", "label", table(LABELS[:2]))
    encoded = encode(data.train, tokenizer, data.task)
    assert encoded.features["labels"] == datasets.List(datasets.Value("float32"))
    batch = DynamicPadding(tokenizer)([encoded[index] for index in range(4)])
    assert batch["labels"].dtype.is_floating_point and batch["labels"].tolist() == MATRIX
    tensors = encoded.with_format("torch")
    again = DynamicPadding(tokenizer)([tensors[index] for index in range(4)])
    assert again["labels"].tolist() == MATRIX
