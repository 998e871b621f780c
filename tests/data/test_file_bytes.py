"""Paths, encodings and files of another kind than their name says."""

from __future__ import annotations

import os
from pathlib import Path

import datasets
import pytest

from agwm.data import load_files
from agwm.errors import DataError
from tests.data.reading import notes, read, refused, rows, write

BODY = "text,label\nfilm a,good\nfilm b,bad\n"
NAMES = [
    "train[1].csv", "a*.csv", "q?.csv", "x::y.csv", "a b.csv", "ümläut.csv", "a%20b.csv", "-n.csv",
    "~x.csv", "a#b.csv", "hf:.csv", "{a,b}.csv", "new\nline.csv", "quo'te.CSV",
    "[2024] survey/train.csv", "hf:/datasets/train.csv", "year=2020/train.csv",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_the_name_of_one_file(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for other in ("train1.csv", "ab.csv", "a1.csv", "qa.csv", "x", "y.csv"):
        write(tmp_path / other, "text,label\nwrong,no\nwrong,yes\n")
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    write(Path(name), BODY)
    assert rows(load_files(name, Path(name), ["text"], "label")) == [("film a", "good"), ("film b", "bad")]


def test_parquet_too(tmp_path: Path) -> None:
    for name, text in (("p[1].parquet", "right"), ("p1.parquet", "wrong")):
        datasets.Dataset.from_dict({"text": [text] * 2, "label": [0, 1]}).to_parquet(tmp_path / name)
    path = str(tmp_path / "p[1].parquet")
    assert load_files(path, path, ["text"], "label").train["sentence1"][:] == ["right"] * 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.csv", "Data file missing: expected a file at nowhere.csv"),
        ("~/nowhere.csv", "'~' is no home folder here"),
        ("", "is a folder"),
        ("folder.csv", "folder.csv is a folder"),
        ("x" * 300 + ".csv", "File name too long"),
        ("a\0b.csv", r"expected a file at a\\x00b.csv"),
        ("a.txt", "Unknown kind of file a.txt"),
        ("a.gz", "got '.gz'"),
        ("a.ods", "Save the table as .xlsx or .csv"),
        ("http://a.org/b.csv", "expected a file at http:/a.org/b.csv"),
        ("locked.csv", "Permission denied|has no examples"),  # root may read everything
    ],
)
def test_paths_of_no_file(tmp_path: Path, path: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.csv").mkdir()
    write(Path("locked.csv"), "text,label\n").chmod(0)
    with pytest.raises(DataError, match=message) as caught:
        load_files(path, path, ["text"], "label")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_no_temporary_folder_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert len(read(tmp_path / "a.csv", BODY).train) == 2


def test_names_of_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Path("a/x.csv"), Path("b/x.csv"), Path("b/y.csv")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        write(path, "text,label\n,good\nfilm b,bad\n")
    data = load_files(paths[0], paths[2], ["text"], "label")
    assert data.sources == ("x.csv", "y.csv")
    assert data.notes == ("x.csv: 1 text is empty: example 1", "y.csv: 1 text is empty: example 1")
    assert load_files(paths[0], paths[1], ["text"], "label").sources == ("a/x.csv", "b/x.csv")


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("a.csv", b"PK\x03\x04\x14\0\0\0", "expected text, got a zip archive, as .xlsx files are"),
        ("a.csv", b"PAR1\x15\0\x15", "got Parquet"),
        ("a.jsonl", b"\x1f\x8b\x08\0\0\0", "got gzip"),
        ("a.csv", b"<!DOCTYPE html><html>", "got a web page"),
        (
            "a.csv",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "got a pointer of Git LFS",
        ),
        ("a.parquet", BODY.encode(), "expected Parquet, got other bytes"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0\0\0", "got an old or encrypted Office file"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, name: str, body: bytes, message: str) -> None:
    refused(tmp_path / name, body, message)


def test_a_header_may_look_like_a_sign(tmp_path: Path) -> None:
    assert len(read(tmp_path / "a.csv", BODY.replace("text", "PAR1"), text_columns=["PAR1"]).train) == 2


KÄSE = "text,label\nKäse,a\n“b”,b\n"


@pytest.mark.parametrize(
    ("body", "encoding", "told"),
    [
        (KÄSE.encode(), None, ""),
        (KÄSE.encode("utf-8-sig"), None, ""),
        (KÄSE.encode("utf-8-sig"), "utf-8", ""),
        (KÄSE.encode("utf-16"), None, "UTF-16-LE found by its byte order mark"),
        (b"\xfe\xff" + KÄSE.encode("utf-16-be"), None, "UTF-16-BE found by its byte order mark"),
        (KÄSE.encode("utf-16"), "utf-16", "UTF-16-LE found by its byte order mark"),
        (KÄSE.encode("utf-16-le"), "utf-16-le", "read as utf-16-le"),
        (KÄSE.encode("utf-32"), None, "UTF-32-LE found by its byte order mark"),
        (KÄSE.encode("cp1252"), "cp1252", "read as cp1252"),
        (KÄSE.encode("gb18030"), "GB18030", "read as gb18030"),
    ],
)
def test_encodings(tmp_path: Path, body: bytes, encoding: str | None, told: str) -> None:
    data = read(tmp_path / "a.csv", body, encoding=encoding)
    assert rows(data) == [("Käse", "a"), ("“b”", "b")] and notes(data) == told


@pytest.mark.parametrize(
    ("body", "encoding", "message"),
    [
        (
            KÄSE.encode("cp1252"),
            None,
            r"not UTF-8: .*offset 12 .*\(line 2, 0xe4\)\. Pass --encoding, for example",
        ),
        (
            KÄSE.encode("cp1252"),
            "latin-1",
            "not 'latin-1': expected letters, got control.*--encoding cp1252",
        ),
        (KÄSE.encode(), "latin-1", "is UTF-8: expected 'latin-1' as --encoding says"),
        (KÄSE.encode("utf-16"), "utf-8", "is not UTF-8"),
        (KÄSE.encode("utf-16-le"), None, "is not UTF-8: .*--encoding utf-16-le"),
        (BODY.encode("utf-16-le"), None, "holds a NUL: .*--encoding utf-16-le"),
        (KÄSE.encode("utf-8-sig"), "latin-1", "expected no byte order mark, got that of utf-8"),
        (KÄSE.encode(), "utf8mb4", "Unknown encoding 'utf8mb4'"),
        (KÄSE.encode(), "rot13", "Unknown encoding 'rot13'"),
        (KÄSE.encode(), "a\0b", "Unknown encoding"),
    ],
)
def test_letters_are_never_others(tmp_path: Path, body: bytes, encoding: str | None, message: str) -> None:
    refused(tmp_path / "a.csv", body, message, encoding=encoding)


def test_options_for_other_files(tmp_path: Path) -> None:
    refused(tmp_path / "a.csv", BODY, "Option sheet is for excel files: expected one, got csv", sheet="x")
    refused(tmp_path / "a.json", "[]", "Option separator is for csv, tsv files", separator=";")
    refused(tmp_path / "a.parquet", b"x", "Option encoding is for csv, tsv, json files", encoding="utf-8")


def test_empty_texts_are_told(tmp_path: Path) -> None:
    data = read(tmp_path / "a.csv", "text,label\n,a\nb,b\n  ,a\n")
    assert notes(data) == "2 texts are empty: examples 1, 3" and rows(data)[2] == ("  ", "a")
    refused(tmp_path / "a.csv", "text,label\n,a\n ,b\n", "All texts of .* are empty")


@pytest.mark.skipif(os.name == "nt", reason="names are bytes on Unix alone")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv"))
    data = read(path, "text,label\n,a\nb,b\n")
    assert rows(data)[1] == ("b", "b") and data.notes[0].isprintable()
