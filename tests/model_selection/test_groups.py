"""Groups of rows of the same text."""

from __future__ import annotations

import numpy as np

from agwm.model_selection.groups import group_rows, groups_line


def test_same_texts_share_a_group():
    texts = [
        "Good film",
        "bad film",
        "good\tfilm ",
        "ＧＯＯＤ film",
        "good films",
        "",
        " \u00a0",
        "STRASSE",
        "straße",
    ]
    assert group_rows([(text,) for text in texts]).tolist() == [0, 1, 0, 0, 2, 3, 3, 4, 4]


def test_unicode_forms_share_a_group():
    assert group_rows([("caf\u00e9",), ("CAFE\u0301",), ("cafe",)]).tolist() == [0, 0, 1]


def test_pairs_are_the_same_when_swapped():
    rows = [("a", "b"), ("B", "a"), ("a", "a"), ("ab", ""), ("a b", "c"), ("a", "b c")]
    assert group_rows(rows).tolist() == [0, 0, 1, 2, 3, 4]


def test_no_rows():
    assert group_rows([]).shape == (0,)
    assert groups_line(group_rows([])) == ""


def test_line():
    assert groups_line(np.arange(5)) == ""
    assert groups_line(np.array([0, 1, 0, 1, 2, 1])).startswith("5 of 6 rows share 2 texts (but for case")
    assert groups_line(np.array([0, 0])).endswith("they stay in one fold.")
