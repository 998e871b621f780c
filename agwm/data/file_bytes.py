"""The bytes of a data file. A path names one file: no pattern, no protocol, no home folder in it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from agwm.errors import DataError, border, shown

__all__ = ["file_place", "kind_of", "read_bytes", "unpack"]

_KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".xlsx": "excel",
    ".xlsm": "excel",
}
_OLD_SHEETS = (".xls", ".xlsb", ".ods", ".numbers")
_UNPACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
# First bytes of what is often found under a wrong ending.
_CONTENTS = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a zip archive, as .xlsx files are",
    b"\x1f\x8b": "gzip",
    b"BZh91AY&SY": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xd0\xcf\x11\xe0": "an old or encrypted Office file",
    b"ARROW1": "Arrow",
    b"SQLite format 3": "SQLite",
    b"%PDF-": "PDF",
    b"version https://git-lfs": "a pointer of Git LFS in place of the file",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"<?xml": "XML",
}
_MARKUP = (b"%", b"<", b"v")


def file_place(path: str | Path) -> str:
    """Return a path as messages and notes have it: on one line, of bounded length, without quotes."""
    return shown(Path(path))[1:-1]


def kind_of(path: Path) -> str:
    """Return how a file is read, by the ending of its name: csv, tsv, json, parquet or excel.

    Raises:
        DataError: If the ending is unknown.
    """
    name = Path(path.stem) if path.suffix.lower() in (*_UNPACKERS, ".zip") else path
    ending = name.suffix.lower()
    if ending in _KINDS:
        return _KINDS[ending]
    if os.path.isdir(path):  # pathlib raises where a name is too long
        raise DataError(f"{file_place(path)} is a folder: expected a data file. Name one of its files.")
    remedy = "Save the table as .xlsx or .csv." if ending in _OLD_SHEETS else "Rename or convert it."
    raise DataError(
        f"Unknown kind of file {file_place(path)}: expected a name ending in {', '.join(_KINDS)} (and .gz,"
        f" .bz2, .xz or .zip after it), got {shown(path.suffix)}. {remedy}"
    )


def read_bytes(path: Path, remedy: str = "Check the path.") -> bytes:
    """Return the bytes of one file.

    Raises:
        DataError: If it is missing, a folder, empty, or cannot be read.
    """
    place = file_place(path)
    with border(path, "a data file", remedy):
        if path.is_dir():
            raise DataError(f"{place} is a folder: expected a data file. Name one of its files.")
        if not path.is_file():
            home = " '~' is no home folder here: write the path out." if place.startswith("~") else ""
            raise DataError(f"Data file missing: expected a file at {place}. {remedy}{home}")
        data = path.read_bytes()
    if not data:
        raise DataError(f"{place} is empty: expected one example per row. Check the file.")
    return data


def unpack(path: Path, data: bytes, kind: str) -> bytes:
    """Unpack bytes where the name says that they are packed, and check that they are of their kind.

    Args:
        path: The file.
        data: Its bytes.
        kind: What they should hold once unpacked.

    Raises:
        DataError: If they cannot be unpacked, or are known to be of another kind.
    """
    packing, place = path.suffix.lower(), file_place(path)
    with border(path, f"a whole {packing} file", "Write it again."):
        if packing in _UNPACKERS:
            data = _UNPACKERS[packing](data)
        elif packing == ".zip":
            data = _only_member(data, place)
    found = _content(data)
    wanted = {"parquet": "Parquet", "excel": "a zip archive, as .xlsx files are"}.get(kind)
    if found != wanted:
        raise DataError(
            f"{place} is not what its name says: expected {wanted or 'text'}, got {found or 'other bytes'}."
            f" Give it the ending of its kind, or save it as {kind}."
        )
    return data


def _only_member(data: bytes, place: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [one for one in archive.namelist() if not one.endswith("/") and "__MACOSX" not in one]
        if len(names) != 1:
            raise DataError(
                f"{place} holds {len(names)} files: expected one. Unpack it, and name the file you mean."
            )
        return archive.read(names[0])


def _content(data: bytes) -> str | None:
    """Say what the first bytes are a sign of; None for plain text, and for what is not known."""
    start = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for sign, name in _CONTENTS.items():
        # "PAR1,text" may be a header: what should be binary is text without a NUL
        if start.startswith(sign.lower()) and (sign.startswith(_MARKUP) or b"\0" in data[:4096]):
            return name
    return None
