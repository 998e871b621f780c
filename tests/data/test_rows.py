"""Rows in memory: every form gives one task, and the rules are those of files."""

from __future__ import annotations

import datasets
import numpy as np
import pandas as pd
import pytest
import torch

from agwm.data import load_files, load_rows
from agwm.errors import DataError

ROWS = [
    {"mail": "It fails", "reply": "Sorry", "kind": "bug"},
    {"mail": "Nice", "reply": "", "kind": "praise"},
    {"mail": "NA", "reply": "?", "kind": "bug"},
]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
FORMS = {
    "frame": pd.DataFrame(ROWS, index=[7, 7, 9]),
    "categories": pd.DataFrame(ROWS).astype("category"),
    "dataset": datasets.Dataset.from_list(ROWS),
    "formatted": datasets.Dataset.from_list(ROWS).with_format("numpy"),
    "dicts": ROWS,
    "columns": COLUMNS,
    "arrays": {name: np.array(values) for name, values in COLUMNS.items()},
    "series": {name: pd.Series(values, dtype="string") for name, values in COLUMNS.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_task_of_a_file(form: str, tmp_path) -> None:
    file = tmp_path / "rows.csv"
    pd.DataFrame(ROWS).to_csv(file, index=False)
    data = load_rows(FORMS[form], ("mail", "reply"), "kind", FORMS[form])
    expected = load_files(file, file, ["mail", "reply"], "kind")
    assert data.task == expected.task and data.train.features == expected.train.features
    for part in ("train", "test"):
        assert getattr(data, part).to_dict() == getattr(expected, part).to_dict()
    assert data.sources == ("rows", "rows (test)")
    assert data.notes[0] == "rows: 1 text of column 'reply' is empty: example 2"


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 1], [0.0, 1.0, 1.0], [np.float32(0), np.float32(1), 1], np.array([0, 1, 1], dtype="uint8"),
        [torch.tensor(0), torch.tensor(1), np.int64(1)], pd.Series([0, 1, 1], dtype="Int64"),
    ],
    ids=str,
)  # fmt: skip
def test_whole_numbers_are_classes_in_every_type(labels) -> None:
    data = load_rows({"text": ["a", "b", "c"], "y": labels}, "text", "y")
    assert data.task.label_names == ("0", "1") and data.train["label"][:] == [0, 1, 1]


def test_fractions_are_scores_and_options_count() -> None:
    rows = {"text": ["a", "b"], "y": np.array([0.5, 2], dtype="float32")}
    data = load_rows(rows, "text", "y")
    assert data.task.is_regression and data.train["label"][:] == [0.5, 2.0]
    assert load_rows(rows, "text", "y", metric="pearson").task.metric == "pearson"
    data = load_rows(COLUMNS, "mail", "kind", metric="f1", positive="bug", task="mails")
    assert (data.task.name, data.task.positive_class) == ("mails", "bug")
    data = load_rows({"text": ["a", "b"], "y": [1, 0]}, "text", "y", label_names=["no", "yes"])
    assert data.task.label_names == ("no", "yes") and data.train["label"][:] == [1, 0]


def test_names_of_a_class_label_stay_in_their_order() -> None:
    features = datasets.Features(
        text=datasets.Value("string"), y=datasets.ClassLabel(names=["up", "down", "x"])
    )
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "y": [1, 0]}, features=features)
    data = load_rows(rows, "text", "y")
    assert data.task.label_names == ("up", "down", "x") and data.train["label"][:] == [1, 0]
    assert data.notes == ("rows: no example of class 'x'",)
    hidden = datasets.Dataset.from_dict({"text": ["a"], "y": [-1]}, features=features)
    with pytest.raises(DataError, match="No class in rows example 1: .* got -1"):
        load_rows(hidden, "text", "y")


def test_without_test_rows_the_test_set_is_empty() -> None:
    data = load_rows(ROWS, "mail", "kind", name="mails")
    assert data.sources == ("mails", "") and len(data.test) == 0
    assert data.test.features == data.train.features


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, " "])
def test_a_missing_value_is_refused_by_its_place(missing) -> None:
    rows = [{"text": "a", "y": "good"}, {"text": "b", "y": missing}]
    with pytest.raises(DataError, match=r"No label in rows example 2: expected a label .* in 1 of 2"):
        load_rows(rows, "text", "y")
    if not isinstance(missing, str):
        with pytest.raises(DataError, match=r"No text in rows example 2, column 'y': expected a string"):
            load_rows(rows, "y", "text")


FRAME = pd.DataFrame([["a", "b", "c"]], columns=["text", "text", "y"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.csv", "rows is of the wrong type: expected a pandas DataFrame, .* got str"),
        (7, "rows is of the wrong type: .* got int"),
        ([], "rows has no examples: expected one or more"),
        (pd.DataFrame({"text": [], "y": []}), "rows has no examples"),
        (datasets.DatasetDict(train=FORMS["dataset"]), r"DatasetDict: .* Pass one of its splits"),
        (["a", "b"], "rows example 1 is no dict: .* got 'a'"),
        ([{"text": "a", "y": 1}, {"txt": "b", "y": 0}], "rows example 2 lacks column 'text'.*mean 'txt'"),
        ({"text": ["a"], "y": [1, 0]}, "Columns of rows differ in length: .*'text': 1, 'y': 2"),
        ({"text": "a", "y": [1]}, "Column 'text' of rows is no column: .* got str"),
        (FRAME, "rows repeats column 'text': expected it once"),
        (pd.DataFrame({"texts": ["a"], "y": [1], 0: [1]}), "lacks column 'text'.* Did you mean 'texts'"),
        ([{"text": "a", "y": "x"}] * 3, "All 3 labels in rows are 'x'"),
        ([{"text": ["a"], "y": "x"}, {"text": "b", "y": "z"}], "No text in rows example 1"),
    ],
)  # fmt: skip
def test_wrong_rows_are_one_line(rows, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_rows(rows, "text", "y")
    assert "\n" not in str(caught.value)


def test_other_labels_of_the_test_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"rows \(test\) example 1: .* those of the training rows\."):
        load_rows(ROWS, "mail", "kind", [{"mail": "a", "kind": "question"}])
    with pytest.raises(DataError, match="A column is named twice"):
        load_rows(ROWS, "mail", "mail")


def test_rows_are_not_changed() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "y": pd.array([1, 0], dtype="Int8")})
    before = frame.copy(deep=True)
    load_rows(frame, "text", "y")
    pd.testing.assert_frame_equal(frame, before)
