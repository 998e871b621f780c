"""Damaged tables of every format: refused in one line, or read row by row as they were written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from agwm.data import load_files
from agwm.errors import AgwmError
from tests.data.damage import Sample, make


def outcome(sample: Sample, folder: Path) -> str:
    """Read a sample as training and test file; say how it ended.

    Right: every row is there, as it was. Told: quotes were added or lost, and a note says where.
    """
    path = folder / sample.name
    path.write_bytes(sample.content)
    try:
        data = load_files(path, path, ["text"], "label", **sample.options)
    except AgwmError as error:
        text = str(error)
        assert "\n" not in text and 20 < len(text) < 700, (sample.damage, text)
        return "refused"
    rows = list(zip(sample.texts, map(sample.expected, sample.labels), strict=True))
    names = data.task.label_names
    found = [
        [
            (text, names[at] if names else at)
            for text, at in zip(part["sentence1"], part["label"], strict=True)
        ]
        for part in (data.train, data.test)
    ]
    if found == [rows, rows]:
        return "right"
    assert sample.damage in ("add quote", "drop quote", "two quotes"), sample.damage
    told = "with a quote, not in quotes" if len(found[0]) == len(rows) else "of several lines"
    assert any(told in note for note in data.notes), (sample.damage, data.notes)
    return "told"


def run(seeds: range, folder: Path) -> Counter:
    counts: Counter = Counter()
    for seed in seeds:
        sample = make(seed)
        try:
            counts[sample.damage, outcome(sample, folder)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {sample.name}, {sample.damage}, {sample.kind}") from error
    return counts


def test_damaged_files_are_refused_or_right(tmp_path: Path) -> None:
    counts = run(range(250), tmp_path)
    ends = {
        end: sum(n for key, n in counts.items() if key[1] == end) for end in ("right", "refused", "told")
    }
    assert sum(ends.values()) == 250 and min(ends["right"], ends["refused"]) > 60
    assert counts["none", "refused"] == 0 and counts["none", "right"] > 40
    for damage in (
        "extra cell",
        "short row",
        "trailing mark",
        "no label",
        "NUL",
        "bad byte",
        "no encoding",
    ):
        assert counts[damage, "right"] == 0 < counts[damage, "refused"], damage


@pytest.mark.slow
def test_many_damaged_files(tmp_path: Path) -> None:
    assert run(range(1000, 5000), tmp_path).total() == 4000
