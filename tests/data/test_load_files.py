"""The user's own files, in every format."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from agwm.data import TaskData, load_files
from agwm.errors import DataError

ROWS = [
    {"one": 'says "NA", ok', "two": "x, y", "y": "good"},
    {"one": "NA", "two": "007", "y": "bad"},
    {"one": "line\nbreak", "two": "null", "y": "good"},
]


def write(path: Path, rows: list[dict]) -> Path:
    kind = path.suffix
    if kind == ".parquet":
        datasets.Dataset.from_list(rows).to_parquet(path)
    elif kind == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif kind == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    else:
        mark, quote = ("\t", "") if kind == ".tsv" else (",", '"')
        lines = [mark.join(rows[0])]
        for row in rows:
            cells = [str(v) for v in row.values()]
            cells = [c.replace('"', '""') if quote else c.replace("\n", " ") for c in cells]
            lines.append(mark.join(f"{quote}{c}{quote}" for c in cells))
        path.write_text("\n".join(lines), encoding="utf-8", newline="")
    return path


def load(tmp_path: Path, train: list, test: list | None = None, kind: str = ".jsonl", **options):
    paths = [write(tmp_path / f"{n}{kind}", r) for n, r in (("a", train), ("b", test or train))]
    options = {"text_columns": ["one"], "label_column": "y", **options}
    return load_files(*paths, **options)


def rows(labels: list, text: object = "t") -> list[dict]:
    return [{"one": text, "y": label} for label in labels]


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_every_format_keeps_texts_as_they_are(tmp_path: Path, kind: str) -> None:
    data = load(tmp_path, ROWS, kind=kind, text_columns=["one", "two"])
    assert isinstance(data, TaskData)
    texts = [row["one"] for row in ROWS]
    if kind == ".tsv":
        texts[2] = "line break"
    assert data.train["sentence1"][:] == texts
    assert data.train["sentence2"][:] == ["x, y", "007", "null"]
    assert data.task.label_names == ("bad", "good") and data.task.metric == "accuracy"
    assert data.test["label"][:] == [1, 0, 1]


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_whole_numbers_are_classes_and_fractions_are_scores(tmp_path: Path, kind: str) -> None:
    data = load(tmp_path, rows([10, 2, 10]), kind=kind)
    assert data.task.label_names == ("2", "10") and data.train["label"][:] == [1, 0, 1]
    data = load(tmp_path, rows([0.5, 2.0, 1.0]), kind=kind)
    assert data.task.is_regression and data.task.metric == "spearman"
    assert data.train["label"][:] == [0.5, 2.0, 1.0]


def test_what_the_user_states_goes_first(tmp_path: Path) -> None:
    data = load(tmp_path, rows([0, 1, 2]), regression=True, metric="pearson")
    assert data.task.metric == "pearson" and data.train["label"][:] == [0.0, 1.0, 2.0]
    assert load(tmp_path, rows([0.5, 1.5]), regression=False).task.label_names == ("0.5", "1.5")
    data = load(tmp_path, rows(["yes", "no"]), label_names=["yes", "no"], metric="f1")
    assert data.train["label"][:] == [0, 1]
    data = load(tmp_path, rows([1, 0]), label_names=["no", "yes"])
    assert data.task.label_names == ("no", "yes") and data.train["label"][:] == [1, 0]
    data = load(tmp_path, rows([True, False]))
    assert data.task.label_names == ("False", "True") and data.train["label"][:] == [1, 0]


def test_csv_with_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfone,y\r\nhello,p\r\nbye,q\r\n")
    data = load_files(path, path, ["one"], "y")
    assert data.train[:] == {"sentence1": ["hello", "bye"], "label": [0, 1]}


def test_nothing_is_left_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    load(tmp_path, ROWS, kind=".csv")
    assert not cache.exists()


@pytest.mark.parametrize(
    ("train", "test", "options", "message"),
    [
        (rows(["a", "b"]), rows(["a", "c"]), {}, r"b.jsonl example 2.*got 'c'.*of the train file"),
        (rows(["a", "b"]), None, {"label_names": ["a", "z"]}, r"example 2: expected one of"),
        (rows(["a", "b"]), None, {"label_column": "yy"}, r"lacks column 'yy'.*Did you mean 'y'"),
        (rows(["a", "b"]), None, {"text_columns": ["ones"]}, "Did you mean 'one'"),
        (rows(["a", None]), None, {}, "No label in .*a.jsonl example 2"),
        (rows(["a", " "]), None, {}, "No label in .*a.jsonl example 2"),
        (rows([0.5, float("nan")]), None, {}, "No label in .*example 2: .* none in 1 of 2"),
        (rows([0.5, float("inf")]), None, {}, "example 2 is not finite"),
        (rows(["a", "b"]), None, {"regression": True}, "example 1 is not a number"),
        (rows(["a", "a"]), None, {}, "expected two or more classes"),
        (rows(["a", "b"]), None, {"metric": "pearson"}, "for classification"),
        (rows(["a", "b"], None), None, {}, "No text in .*a.jsonl example 1, column 'one'"),
        (rows(["a", "b"], 7), None, {}, "expected a string, got 7"),
        (rows(["a", "b"]), None, {"text_columns": []}, "expected 1 or 2, got 0"),
        (rows(["a", "b"]), None, {"text_columns": ["y"]}, "A column is named twice"),
        (rows([1, 2]), None, {"regression": True, "label_names": ["1", "2"]}, "no classes"),
    ],
)
def test_errors(tmp_path: Path, train: list, test: list, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, train, test, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("a.doc", b"x", r"expected a name ending in .csv.*got '.doc'"),
        ("a.xls", b"x", r"got '.xls'. Save the table as .xlsx or .csv"),
        ("a.xlsx", b"x", r"a.xlsx is not what its name says: expected a zip archive"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"one,y\n", "no examples"),
        ("a.csv", b"one,y,y\nq,1,2\n", "repeats column 'y'"),
        ("a.csv", b"one,y\nq,1\nq,1,2,3\n", r"columns in .*a.csv line 3 \(example 2\): expected 2, got 4"),
        ("a.csv", b"one,y\nq,1\nr\n", r"columns in .*a.csv line 3 \(example 2\): expected 2, got 1"),
        ("a.tsv", b"one\ty\nq\t1\nq\n", r"line 3 \(example 2\): expected 2, got 1"),
        ("a.csv", b"\xff\xfe,y\n", "a.csv is not UTF-16-LE: expected it throughout, got at offset 4"),
        ("a.json", b"{not json", "Cannot read .*a.json as json"),
        (
            "a.parquet",
            b"not parquet",
            "a.parquet is not what its name says: expected Parquet, got other bytes",
        ),
    ],
)
def test_bad_files(tmp_path: Path, name: str, body: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(body)
    with pytest.raises(DataError, match=message) as caught:
        load_files(path, path, ["one"], "y")
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a file at .*nowhere.csv"):
        load_files(tmp_path / "nowhere.csv", tmp_path / "nowhere.csv", ["one"], "y")
