"""The rows that the chosen candidate gets most wrong, with their texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from agwm.model_selection.record import FitRecord
from agwm.model_selection.reporting.blocks import Block, Section, Table, Text
from agwm.model_selection.reporting.held_out import Answers, held_out
from agwm.model_selection.reporting.words import NONE, brief, cut, number, signed

__all__ = ["mistake_section"]

_SHOWN, _LETTERS, _NAME = 20, 280, 60
_NUMBERS = frozenset({"row", "p(answer)", "p(right)", "probability", "right score", "answer", "error"})
_Found = list[tuple[float, list[str]]]  # how far off each row is, and its cells


def mistake_section(record: FitRecord, texts: Sequence[tuple[str, ...]]) -> Section:
    """Return the held-out rows with the worst answers, the worst first.

    Of classes: wrong answers, the least probability of the right class first. Of several labels: rows with
    a wrong label, the label that is furthest off first. Of scores: the largest errors. A row that was held
    out several times has the mean of its outputs.

    Args:
        record: The record.
        texts: Texts of all rows, by position.
    """
    title = "Rows most wrong"
    single = held_out(record, record.chosen)
    if single is None:
        return Section("mistakes", title, [Text("The chosen candidate has no answers for held-out rows.")])
    answers = single.averaged()
    kind = _scores if answers.is_regression else _labels if answers.is_multi_label else _classes
    head, measured = kind(answers)
    places = [i for i in range(len(measured)) if answers.is_regression or answers.is_wrong[i]]
    if not places:
        return Section("mistakes", title, [Text("No held-out row has a wrong answer.")])
    worst = sorted(places, key=lambda place: -measured[place][0])[:_SHOWN]
    counts = {} if answers.is_regression else _counts(record, single)
    lines = []
    for place in worst:
        row = int(answers.rows[place])
        words = [cut(part, _LETTERS) or "(empty)" for part in texts[row]]
        times = [one[row] for one in counts.values()]
        lines.append([str(row + 1), *words, *measured[place][1], *times])
    columns = [brief(name, _NAME) for name in record.text_columns]
    head = ["row", *columns, *head, *counts]
    right = frozenset(i for i, name in enumerate(head) if name in _NUMBERS and not 1 <= i <= len(columns))
    of = "rows" if answers.is_regression else "rows with a wrong answer"
    blocks: list[Block] = [
        Text("A row that every candidate gets wrong may be labelled wrong."),
        Table(f"{len(lines)} of {len(places)} {of}, the worst first", head, lines, right),
    ]
    if single.repeats > 1:
        blocks.append(Text(f"Answers and probabilities are means over {single.repeats} repetitions."))
    return Section("mistakes", title, blocks)


def _counts(record: FitRecord, single: Answers) -> dict[str, dict[int, str]]:
    """Return how often the chosen one was wrong, and how many others that learned are, row by row."""
    found: dict[str, dict[int, str]] = {}
    if single.repeats > 1:
        times = Counter(single.rows[single.is_wrong].tolist())
        found["times wrong"] = {row: f"{times[row]} of {single.repeats}" for row in single.rows.tolist()}
    others = [held_out(record, row.name) for row in record.table if row.verdict in ("tied", "worse")]
    known = [one.averaged() for one in others if one is not None]
    if known:
        wrong = Counter(row for one in known for row in one.rows[one.is_wrong].tolist())
        asked = Counter(row for one in known for row in one.rows.tolist())
        found["others wrong"] = {row: f"{wrong[row]} of {asked[row]}" for row in single.rows.tolist()}
    return found


def _classes(answers: Answers) -> tuple[list[str], _Found]:
    found: _Found = []
    for right, answer, outputs in zip(answers.labels, answers.found, answers.outputs, strict=True):
        names = [brief(answers.names[int(place)], _NAME) for place in (right, answer)]
        given = [number(float(outputs[place]), 2) for place in (answer, right)]
        found.append((1 - float(outputs[right]), names + given))
    return ["right class", "answered", "p(answer)", "p(right)"], found


def _labels(answers: Answers) -> tuple[list[str], _Found]:
    found: _Found = []
    for right, answer, outputs in zip(answers.labels, answers.found, answers.outputs, strict=True):
        off = np.abs(outputs - right)
        furthest = int(off.argmax())
        names = [_joined(answers, right), _joined(answers, answer), brief(answers.names[furthest], _NAME)]
        found.append((float(off[furthest]), [*names, number(float(outputs[furthest]), 2)]))
    return ["right labels", "answered", "furthest off", "probability"], found


def _scores(answers: Answers) -> tuple[list[str], _Found]:
    found: _Found = []
    for right, answer in zip(answers.labels.tolist(), answers.found.tolist(), strict=True):
        found.append((abs(answer - right), [number(right), number(answer), signed(answer - right)]))
    return ["right score", "answer", "error"], found


def _joined(answers: Answers, marked: np.ndarray) -> str:
    names = [name for name, is_on in zip(answers.names, marked, strict=True) if is_on]
    return cut(", ".join(names), 160) or NONE
