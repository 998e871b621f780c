"""Texts to be predicted: every row of every kind of file, with all columns, and lines of standard input."""

from __future__ import annotations

import io
import json

import openpyxl
import pandas as pd
import pytest

from agwm.data.unlabelled import read_unlabelled
from agwm.errors import DataError
from tests.data.reading import write

ROWS = {"id": [7, 8, 9], "text": ["a; b", "", "line\nbreak"], "more": ["x", "y", "z"]}
FRAME = pd.DataFrame(ROWS)


def make(path) -> None:
    kind = path.suffix
    if kind in (".csv", ".tsv"):
        FRAME.to_csv(path, sep="\t" if kind == ".tsv" else ",", index=False)
    elif kind == ".parquet":
        FRAME.to_parquet(path, index=False)
    elif kind == ".xlsx":
        book = openpyxl.Workbook()
        for row in [list(ROWS), *FRAME.astype(object).values.tolist()]:
            book.active.append(row)
        book.save(path)
    else:
        FRAME.to_json(path, orient="records", lines=kind == ".jsonl")


def lines(content: str | bytes, expected=(), **options):
    data = content if isinstance(content, bytes) else content.encode()
    return read_unlabelled(None, stdin=io.BytesIO(data), expected=expected, **options)


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".json", ".jsonl", ".parquet", ".xlsx"])
def test_every_kind_of_file_keeps_rows_and_columns(kind, tmp_path) -> None:
    path = tmp_path / f"new{kind}"
    make(path)
    read = read_unlabelled(path, ["text"])
    assert read.texts == [(text,) for text in ROWS["text"]] and read.text_columns == ("text",)
    assert list(read.table) == list(ROWS) and read.file == f"new{kind}"
    assert [str(cell) for cell in read.table["id"]] == ["7", "8", "9"]
    assert any("1 text is empty: example 2" in note for note in read.notes)


@pytest.mark.parametrize("orient", ["split", "columns", "index", "list"])
def test_json_by_column_and_by_key_keeps_all_columns(orient, tmp_path) -> None:
    path = tmp_path / "new.json"
    if orient == "list":
        path.write_text(json.dumps(ROWS))
    else:
        FRAME.to_json(path, orient=orient)
    read = read_unlabelled(path, None, expected=["text"])
    assert read.texts == [(text,) for text in ROWS["text"]]
    assert set(read.table) == set(ROWS) and read.table["id"] == [7, 8, 9]


def test_rows_of_json_may_lack_other_columns(tmp_path) -> None:
    path = write(
        tmp_path / "new.jsonl",
        '{"text": "a", "id": 1}\n{"id": 2, "text": null, "note": "n"}\n{"text": "b"}',
    )
    read = read_unlabelled(path, ["text"])
    assert read.table == {"text": ["a", None, "b"], "id": [1, 2, None], "note": [None, "n", None]}
    assert read.texts == [("a",), ("",), ("b",)]
    assert read.notes == ("1 missing text read as empty", "1 text is empty: example 2")


def test_one_object_is_one_row(tmp_path) -> None:
    assert read_unlabelled(write(tmp_path / "a.json", '{"text": "good", "n": 1}')).texts == [("good",)]
    assert read_unlabelled(write(tmp_path / "b.json", '{"data": [{"text": "good"}]}')).texts == [("good",)]
    assert read_unlabelled(write(tmp_path / "c.json", '{"text": ["good", "bad"]}')).texts == [
        ("good",),
        ("bad",),
    ]


def test_the_only_column_of_texts_is_taken_and_told(tmp_path) -> None:
    path = write(tmp_path / "new.csv", "id,review\n1,good\n2,bad\n")
    for expected in ((), ("text",)):
        read = read_unlabelled(path, None, expected=expected)
        assert read.text_columns == ("review",) and read.texts == [("good",), ("bad",)]
        assert read.notes == ("its one column of texts, 'review', was taken",)
    path = write(tmp_path / "one.csv", "review; long\n7\n8 days\n")
    assert read_unlabelled(path).texts == [("7",), ("8 days",)]


def test_columns_of_the_model_are_taken_before_others(tmp_path) -> None:
    path = write(tmp_path / "new.csv", "title;body;id\na;b;1\nc;d;2\n")
    read = read_unlabelled(path, None, expected=("body",))
    assert read.texts == [("b",), ("d",)] and read.notes == ("separator ';' found",)
    assert read_unlabelled(path, None, expected=("body", "title")).texts == [("b", "a"), ("d", "c")]
    assert read_unlabelled(path, ["title"], expected=("body",)).texts == [("a",), ("c",)]


def test_repeated_and_unnamed_columns_are_told(tmp_path) -> None:
    path = write(tmp_path / "new.csv", "text,note,,note\na,b,c,d\n")
    read = read_unlabelled(path, ["text"])
    assert read.table == {"text": ["a"], "note": ["b"], "note (2)": ["d"]}
    assert read.notes == (
        "column 'note' repeated: the later ones are 'note (2)'",
        "1 column without a name left out",
    )


def test_several_lines_in_a_cell_are_told(tmp_path) -> None:
    path = write(tmp_path / "new.csv", 'text,id\n"a\nb, c",1\nd "x",2\n')
    read = read_unlabelled(path, ["text"])
    assert read.texts == [("a\nb, c",), ('d "x"',)]
    assert "1 row of several lines; the longest, 2 lines, begins in line 2" in read.notes


@pytest.mark.parametrize(
    ("columns", "expected", "message"),
    [
        (["txt"], (), "lacks column 'txt': expected it once, got text, more, id. Did you mean 'text'"),
        (None, ("review",), "lacks column 'review': .* Name the columns of texts by --text"),
        (None, (), "Nobody says which column of .* holds the texts: .* 'text', 'more', 'id'. Name it by"),
        (["text", "text"], (), "expected one or two different ones"),
        (["text", "more", "id"], (), "expected one or two different ones"),
    ],
)
def test_a_missing_column_is_one_line(columns, expected, message, tmp_path) -> None:
    path = write(tmp_path / "new.csv", "text,more,id\na,b,1\n")
    with pytest.raises(DataError, match=message.replace("got text, more, id", ".*")) as caught:
        read_unlabelled(path, columns, expected=expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("new.txt", "a\n", "Unknown kind of file"),
        ("new.csv", "text\n", "has no examples"),
        ("new.csv", "", "is empty"),
        ("new.json", '[{"text": 7}]', "No text in .* example 1, column 'text': expected a string, got 7"),
        ("new.csv", "text,b\na\n", "Wrong number of columns"),
    ],
)
def test_a_wrong_file_is_one_line(name, content, message, tmp_path) -> None:
    with pytest.raises(DataError, match=message):
        read_unlabelled(write(tmp_path / name, content), ["text"])


def test_lines_of_standard_input() -> None:
    read = lines("one\r\n\ntwo\twith a tab\n")
    assert read.texts == [("one",), ("",), ("two\twith a tab",)] and read.table is None
    assert read.notes == ("1 text is empty: example 2",)
    assert lines("last line without an end").texts == [("last line without an end",)]
    assert lines("a\tb\nc\t\n", ("one", "two")).texts == [("a", "b"), ("c", "")]
    assert lines("Grüße".encode("cp1252"), encoding="cp1252").texts == [("Grüße",)]
    assert lines(b"\xef\xbb\xbfmark").texts == [("mark",)]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "standard input is empty: expected one text a line"),
        ("\n\n", {}, "All texts of standard input are empty"),
        ("a\tb\nc\n", {"expected": ("x", "y")}, "standard input line 2 is no pair: .* got 0 tabs in 'c'"),
        ("a\tb\tc\n", {"expected": ("x", "y")}, "line 1 is no pair: .* got 2 tabs"),
        (b"\xff\xfe\xfa", {}, "standard input is not UTF-"),
        ("a", {"text_columns": ["text"]}, "Standard input has no columns: .* no --text, got"),
        ("a", {"separator": ";"}, "no --separator, got ';'"),
        ("a", {"sheet": "x"}, "no --sheet"),
    ],
)
def test_wrong_standard_input_is_one_line(content, options, message) -> None:
    with pytest.raises(DataError, match=message) as caught:
        lines(content, **options)
    assert "\n" not in str(caught.value)
