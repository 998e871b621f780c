"""CSV and TSV as programs and people write them: every row counted, quotes in pairs, separators found."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pandas as pd
import pytest

from agwm.data import load_files
from tests.data.reading import notes, read, refused, rows

PLAIN = [("a", "x"), ("b", "y")]
EXCEL = "separator ';' named by the first line"


@pytest.mark.parametrize(
    ("body", "found", "told"),
    [
        ("text,label\na,x\nb,y\n", PLAIN, ""),
        ("text,label\ra,x\rb,y", PLAIN, ""),
        ("\ufefftext,label\r\na,x\r\nb,y\r\n", PLAIN, ""),
        (",text,label\n0,a,x\n1,b,y\n", PLAIN, "1 column without a name left out"),
        ("text,label,,,\na,x,,,\nb,y,,,\n", PLAIN, "3 columns without a name left out"),
        ("text,u,label,u\na,1,x,2\nb,1,y,2\n", PLAIN, ""),
        ("\n \n\ntext,label\na,x\n\nb,y\n\n\n", PLAIN, "4 blank rows left out"),
        ("text,label\na,x\n,\nb,y\n,\n,\n", PLAIN, "3 blank rows left out"),
        ("text;label\na, or b;x\nb;y\n", [("a, or b", "x"), ("b", "y")], "separator ';' found"),
        ("text\tlabel\na\tx\nb\ty\n", PLAIN, "separator '\\t' found"),
        ("text|label\na|x\nb|y\n", PLAIN, "separator '|' found"),
        ("sep=;\r\ntext;label\r\na;x\r\nb;y\r\n", PLAIN, EXCEL),
        ('"sep=;"\n\ntext;label\na;x\nb;y\n', PLAIN, f"{EXCEL}; 1 blank row left out"),
        ('text,label\n"a ""b"", c",x\nNA,y\n', [('a "b", c', "x"), ("NA", "y")], ""),
        ('text,label\nC:\\,x\n"D:\\",y\n', [("C:\\", "x"), ("D:\\", "y")], ""),
        (
            'text,label\na 5" screen,x\nb,y\n',
            [('a 5" screen', "x"), ("b", "y")],
            "1 text with a quote, not in quotes; the first in line 2",
        ),
        (
            'label,text\n1,"To buy:\n1, milk\n0, eggs"\n0,b\n',
            [("To buy:\n1, milk\n0, eggs", "1"), ("b", "0")],
            "1 row of several lines; the longest, 3 lines, begins in line 2",
        ),
        (
            'text,label\n"Dear shop,\nI like it, much\n\nbye, x",x\nb,y\n',
            [("Dear shop,\nI like it, much\n\nbye, x", "x"), ("b", "y")],
            "1 row of several lines; the longest, 4 lines, begins in line 2",
        ),
    ],
)  # fmt: skip
def test_what_is_right_is_read(tmp_path: Path, body: str, found: list, told: str) -> None:
    data = read(tmp_path / "a.csv", body)
    assert (rows(data), notes(data)) == (found, told)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("text,label,c\na,x,1,\nb,y,2,\n", r"line 2 \(example 1\): expected 3, got 4 \(and in 1 more\)"),
        (
            "text,label\na,x,2020\nb,y,2021\n",
            r"line 2 .*expected 2, got 3 .*Put texts that hold ',' in quotes",
        ),
        ("text,label\na,x\nDear shop, b,y\n", r"line 3 \(example 2\): expected 2, got 3\."),
        ("label,text\nx,a\ny\n", r"line 3 \(example 2\): expected 2, got 1.*Fill in the cells"),
        (
            'text,label\n"say \\"hi\\"",x\nb,y\n',
            "line 2: expected quotes in pairs, got a quote inside of a cell.*not after a backslash",
        ),
        (
            'text,label\na,x\n"b,y\nc,x\n',
            "line 3: expected quotes in pairs, got a quote that is never closed",
        ),
        ('text,label\n"a" ,x\nb,y\n', "line 2: expected quotes in pairs, got a quote inside of a cell"),
        ('text,label\n"a", "x"\n"b", "y"\n', "A blank before a quote in .* line 2"),
        ('text,label\na,x"\nb,y\n', "A quote in the label in .* line 2"),
        ('text,label\na,"x\nz"\nb,y\n', "The label in .* line 2 spans 2 lines"),
        ("text,label,label\na,x,1\n", "repeats column 'label'"),
        ("text,label\n", "has no examples"),
        ("\n\n \n", "has no header"),
        (
            "My survey\ntext,label\na,x\n",
            r"\(line 1\) lacks column 'text': expected it once, got 'My survey'",
        ),
        ("text,label\na,x\nb,y\n\x1a", "line 4 .* expected 2, got 1"),
        ("text,label\na,x\0\nb,y\n", "line 2 holds a NUL"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, body: str, message: str) -> None:
    refused(tmp_path / "a.csv", body, message)


@pytest.mark.parametrize("order", ["text,label", "label,text", "id,text,label"])
@pytest.mark.parametrize("last", [3, 7])
def test_rows_that_a_stray_quote_swallows(tmp_path: Path, order: str, last: int) -> None:
    lines = [order]
    for number in range(10):
        text = f"film {number}"
        text = f'"{text}' if number == 2 else f'{text}"' if number == last else text
        cells = {"id": str(number), "text": text, "label": "xy"[number % 2]}
        lines.append(",".join(cells[name] for name in order.split(",")))
    refused(tmp_path / "a.csv", "\n".join(lines), rf"line 4 spans {last - 1} lines that look like rows")


def test_long_fields_are_read_and_the_limit_is_put_back(tmp_path: Path) -> None:
    before = csv.field_size_limit(1000)
    try:
        data = read(tmp_path / "a.csv", f"text,label\nb,y\n{'word ' * 40_000},x\n")
        assert len(data.train["sentence1"][1]) == 200_000 and csv.field_size_limit() == 1000
        refused(tmp_path / "b.csv", 'text,label\n"b,y\n', "never closed")
        assert csv.field_size_limit() == 1000
    finally:
        csv.field_size_limit(before)


def test_what_pandas_writes_comes_back(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"text": ['say "hi", ok', "two\nlines", "007", " x "], "label": ["x", "y", "x", "y"]}
    )
    path = tmp_path / "a.csv"
    for options in (
        {},
        {"index": False},
        {"sep": ";"},
        {"quoting": csv.QUOTE_ALL},
        {"lineterminator": "\r\n"},
    ):
        frame.to_csv(path, **options)
        data = load_files(path, path, ["text"], "label")
        assert rows(data) == list(frame.itertuples(index=False, name=None)), options
    for name in ("a.csv.gz", "a.csv.bz2", "a.csv.xz", "a.csv.zip"):
        frame.to_csv(tmp_path / name)
        assert rows(load_files(tmp_path / name, path, ["text"], "label"))[1] == ("two\nlines", "y")


@pytest.mark.parametrize(
    ("body", "found", "told"),
    [
        ('text\tlabel\n"Hello," he said\tx\nb\ty\n', '"Hello," he said', ""),
        (
            'text\tlabel\n"Hello, you"\tx\nc, d\ty\n',
            '"Hello, you"',
            "quotes around 1 cell are part of the text",
        ),
        (
            'text\tlabel\n"Hello, you"\tx\nc\ty\n',
            "Hello, you",
            "cells in quotes are read as those of a CSV",
        ),
        ('text\tlabel\n"say ""hi"""\tx\nc\ty\n', 'say "hi"', "cells in quotes are read as those of a CSV"),
        ('"text"\t"label"\n"a"\t"x"\n"c"\t"y"\n', "a", "cells in quotes are read as those of a CSV"),
        ('"text"\t"label"\n"a"\t1\n"c"\t2\n', "a", "cells in quotes are read as those of a CSV"),
        ('text\tlabel\n"a\tb"\tx\nc\ty\n', "a\tb", "cells in quotes are read as those of a CSV"),
        ("text,label\na,x\nc,y\n", "a", "separator ',' found"),
    ],
)
def test_quotes_of_a_tsv(tmp_path: Path, body: str, found: str, told: str) -> None:
    data = read(tmp_path / "a.tsv", body)
    assert rows(data)[0][0] == found and notes(data).startswith(told) and bool(told) == bool(data.notes)


def test_lines_of_a_quoted_tsv_are_no_rows(tmp_path: Path) -> None:
    refused(tmp_path / "a.tsv", 'text\tlabel\nx\t"two\nlines"\tb\nc\td\n', r"line 2 .*expected 2, got 3")


def test_separator_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for mark in ("\t", "\\t", "tab"):
        data = read(path, "text\tlabel\na, b\tx\nb\ty\n", separator=mark)
        assert rows(data)[0] == ("a, b", "x") and notes(data) == "separator '\\t' as asked for"
    assert rows(read(path, "text~label\na~x\nb~y\n", separator="~")) == PLAIN
    refused(path, "text,label\na,x\nb,y\n", "lacks column 'text'.*got 'text,label'", separator=";")
    for wrong in (";;", '"', "", "\n"):
        refused(path, "text,label\na,x\nb,y\n", "Wrong separator", separator=wrong)
    quoted = read(tmp_path / "a.tsv", 'text\tlabel\n"Yes"\tx\nb\ty\n', separator="tab")
    assert rows(quoted)[0] == ("Yes", "x")


def test_half_a_gzip_file(tmp_path: Path) -> None:
    packed = gzip.compress(b"text,label\na,x\nb,y\n")
    refused(tmp_path / "a.csv.gz", packed[:-9], "expected a whole .gz file, got EOFError")
    refused(tmp_path / "a.csv.gz", b"text,label\na,x\n", "expected a whole .gz file, got BadGzipFile")
