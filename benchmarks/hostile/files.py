"""Hostile data files, headers of safetensors, and trees of checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save

from agwm.files import tree_metadata
from benchmarks.hostile.place import rows
from benchmarks.hostile.values import changed, damaged, json_text, odd_texts

__all__ = ["data_files", "headers", "trees"]

_LINES = (
    "text,label",
    "text\tlabel",
    ",",
    '"',
    "sep=;",
    "#",
    "{}",
    "[]",
    '{"text": "the dog", "label": NaN}',
)


@st.composite
def _cells(draw: st.DrawFn) -> list[list[str]]:
    """Draw a table: header and rows, some cells of which are odd, and some rows of another length."""
    table = [["text", "label"], *map(list, rows(draw(st.sampled_from([0, 1, 4, 12, 30]))))]
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 5]))):
        row = table[draw(st.integers(0, len(table) - 1))]
        place = draw(st.integers(0, len(row)))
        how = draw(st.sampled_from(["cell", "cell", "cell", "more", "less", "copy"]))
        if how == "cell" and place < len(row):
            row[place] = draw(odd_texts)
        elif how == "more":
            row.insert(place, draw(odd_texts))
        elif how == "less" and row:
            del row[min(place, len(row) - 1)]
        elif how == "copy":
            table.append(list(row))
    return table


def _quoted(cell: str, mark: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(c in cell for c in f'{mark}"\n\r') else cell


@st.composite
def _delimited(draw: st.DrawFn) -> tuple[str, bytes]:
    name, mark = draw(
        st.sampled_from([("own.csv", ","), ("own.csv", ";"), ("own.tsv", "\t"), ("own.csv", "|")])
    )
    is_quoted = draw(st.integers(0, 3)) > 0
    table = draw(_cells())
    lines = [mark.join(_quoted(cell, mark) if is_quoted else cell for cell in row) for row in table]
    return name, draw(damaged("\n".join([*lines, ""]), _LINES))


@st.composite
def _json(draw: st.DrawFn) -> tuple[str, bytes]:
    shape = draw(st.sampled_from(["lines", "lines", "array", "columns", "data"]))
    found: list[Any] = [
        {"text": text, "label": label} for text, label in rows(draw(st.sampled_from([2, 12, 30])))
    ]
    if shape == "lines":
        odd = draw(changed(found))
        texts = map(json_text, odd) if isinstance(odd, list) else [json_text(odd)]
        return draw(st.sampled_from(["own.jsonl", "own.json"])), draw(damaged("\n".join(texts), _LINES))
    columns = {key: [row[key] for row in found] for key in ("text", "label")}
    document = {"array": found, "columns": columns, "data": {"version": 1, "data": found}}[shape]
    return "own.json", draw(damaged(json_text(draw(changed(document))), _LINES))


def data_files() -> st.SearchStrategy[tuple[str, bytes]]:
    """Return names and bytes of tables as text."""
    return st.one_of(_delimited(), _json())


@st.composite
def headers(draw: st.DrawFn, path: Path) -> bytes:
    """Draw a safetensors file with another header: its JSON changed, damaged, or cut."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header, rest = data[8 : 8 + size], data[8 + size :]
    header = draw(damaged(json_text(draw(changed(json.loads(header))))))
    length = draw(st.sampled_from([len(header)] * 9 + [0, 1, size, 2**63, 2**64 - 1, len(data)]))
    cut = draw(st.sampled_from([len(rest)] * 9 + [0, len(rest) // 2]))
    return length.to_bytes(8, "little") + header + rest[:cut]


@st.composite
def trees(draw: st.DrawFn, path: Path) -> bytes:
    """Draw a whole checkpoint that holds other things: its checksum is right."""
    with safe_open(str(path), framework="pt") as file:
        structure = json.loads(file.metadata()["structure"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    text = json_text(draw(changed(structure)))
    return save(tensors, tree_metadata(text, tensors))
