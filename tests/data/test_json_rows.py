"""JSON in its many shapes: lines, arrays, rows under a key, and what pandas writes."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.data.reading import notes, read, refused, rows

ROWS = [{"text": 'say "hi"\n', "label": "x"}, {"text": "b\u2028c", "label": "y"}]
FOUND = [(row["text"], row["label"]) for row in ROWS]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (json.dumps(ROWS), ""),
        (json.dumps(ROWS, indent=2, ensure_ascii=False), ""),
        ("\n".join(map(json.dumps, ROWS)) + "\n\n", ""),
        ("\r".join(json.dumps(row, ensure_ascii=False) for row in ROWS), ""),
        ("\ufeff" + json.dumps(ROWS), ""),
        (json.dumps({"version": 1, "data": ROWS}), "rows under 'data'"),
        (json.dumps({"text": [t for t, _ in FOUND], "label": ["x", "y"]}), "one list of values per column"),
        ('{"text":{"1":"b\u2028c","0":"say \\"hi\\"\\n"},"label":{"0":"x","1":"y"}}', None),
        *(
            (pd.DataFrame(ROWS).to_json(orient=orient), None)
            for orient in ("columns", "split", "index", "table")
        ),
        (pd.DataFrame(ROWS).to_json(orient="records"), ""),
        (pd.DataFrame(ROWS).to_json(orient="records", lines=True), ""),
    ],
)
def test_shapes(tmp_path: Path, name: str, body: str, told: str | None) -> None:
    data = read(tmp_path / name, body)
    assert sorted(rows(data), reverse=True) == FOUND
    assert notes(data) == told if told is not None else data.notes


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"train": ROWS, "dev": ROWS}, "several lists: expected one, of the rows, got 'train', 'dev'"),
        ([ROWS[0], {"text": "b"}], "example 2 lacks column 'label': expected it once, got 'text'"),
        ([["a", "x"]], "example 1 is no object"),
        (7, "has no rows"),
        ([], "has no examples"),
        ({}, "lacks column 'text'"),
        ('[{"text":"a","label":"x","label":"y"}]', "example 1 repeats key 'label' in one object"),
        ('{"text":{"0":"a","0":"b"},"label":{"0":"x"}}', "repeats key '0' in one object"),
        ({"text": ["a", "b"], "label": ["x"]}, "differ in their rows: expected 2 as in 'text', got 1"),
        ({"columns": ["text", "label"], "data": [["a", "x"], ["b"]]}, "example 2: expected 2, got 1"),
        (
            '{"text":"a","label":"x"}\n{"text":"b"\n',
            "Cannot read .* as json: expected what JSON has in line 3 column 1",
        ),
        (json.dumps(ROWS)[:-9], "Cannot read .* as json: .*Unterminated string"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        (f'[{{"text":"a","label":{"9" * 5000}}}]', "Cannot read .* digits"),
        (
            [ROWS[0], {"text": 5, "label": "y"}],
            "No text in .*example 2, column 'text': expected a string, got 5",
        ),
        ([ROWS[0], {"text": None, "label": "y"}], "No text in .*example 2.*got None"),
        ([ROWS[0], {"text": ["b"], "label": "y"}], r"No text in .*example 2.*got \['b'\]"),
        ('[{"text":"a\\ud83d","label":"x"},{"text":"b","label":"y"}]', "half of a surrogate pair"),
        ('[{"text":"a","label":"\\ud83d"},{"text":"b","label":"y"}]', "half of a surrogate pair"),
    ],
)
def test_what_has_no_rows_is_refused(tmp_path: Path, body: object, message: str) -> None:
    refused(tmp_path / "a.json", body if isinstance(body, str) else json.dumps(body), message)
