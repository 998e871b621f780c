"""The rows that the chosen candidate gets most wrong, with their texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agwm.model_selection.record import FitRecord
from agwm.model_selection.reporting.blocks import Block, Section, Table, Text
from agwm.model_selection.reporting.held_out import Answers, held_out
from agwm.model_selection.reporting.words import NONE, cut, number, signed

__all__ = ["mistake_section"]

_SHOWN, _LETTERS = 20, 280


def mistake_section(record: FitRecord, texts: Sequence[tuple[str, ...]]) -> Section:
    """Return the held-out rows with the worst answers, the worst first.

    Of classes: wrong answers, the least probability of the right class first. Of several labels: rows with a
    wrong label, the label that is furthest off first. Of scores: the largest errors. A row that was held out
    several times has the mean of its outputs.

    Args:
        record: The record.
        texts: Texts of all rows, by position.
    """
    answers = held_out(record, record.chosen)
    title = "Rows most wrong"
    if answers is None:
        return Section("mistakes", title, [Text("The chosen candidate has no answers for held-out rows.")])
    rows = np.unique(answers.rows)
    mean = np.stack([answers.outputs[answers.rows == row].mean(axis=0) for row in rows])
    kind = _scores if answers.is_regression else _labels if answers.is_multi_label else _classes
    head, found = kind(answers, rows, mean)
    worst = sorted(found, key=lambda one: (-one[0], one[1]))[:_SHOWN]
    if not worst:
        return Section("mistakes", title, [Text("No held-out row has a wrong answer.")])
    several = answers.repeats > 1
    wrong = _times_wrong(answers)
    lines = []
    for _, row, *cells in worst:
        text = [cut(part, _LETTERS) or "(empty)" for part in texts[row]]
        times = [f"{wrong[row]} of {answers.repeats}"] if several and not answers.is_regression else []
        lines.append([str(row + 1), *text, *cells, *times])
    columns = [cut(name, 60) for name in record.text_columns]
    head = ["row", *columns, *head, *(["times wrong"] if several and not answers.is_regression else [])]
    right = frozenset(place for place in range(len(columns) + 1, len(head)) if head[place] in _NUMBERS) | {
        0
    }
    caption = (
        f"{len(lines)} of {len(found)} {'rows' if answers.is_regression else 'rows with a wrong answer'}"
    )
    table = Table(f"{caption}, the worst first", head, lines, right)
    note = "Look here for wrong labels too: a row that every method gets wrong may be labelled wrong."
    blocks: list[Block] = [Text(note), table]
    if several:
        blocks.append(Text(f"Answers and probabilities are means over {answers.repeats} repetitions."))
    return Section("mistakes", title, blocks)


_NUMBERS = {"p(answer)", "p(right)", "probability", "right score", "answer", "error", "times wrong"}


def _classes(answers: Answers, rows: np.ndarray, mean: np.ndarray) -> tuple[list[str], list[tuple]]:
    labels = _label_of(answers)
    found = []
    for row, outputs in zip(rows.tolist(), mean, strict=True):
        right, answer = int(labels[row]), int(outputs.argmax())
        if right != answer:
            names = cut(answers.names[right], 60), cut(answers.names[answer], 60)
            found.append(
                (1 - outputs[right], row, *names, number(outputs[answer], 2), number(outputs[right], 2))
            )
    return ["right class", "answered", "p(answer)", "p(right)"], found


def _labels(answers: Answers, rows: np.ndarray, mean: np.ndarray) -> tuple[list[str], list[tuple]]:
    labels = _label_of(answers)
    found = []
    for row, outputs in zip(rows.tolist(), mean, strict=True):
        right = labels[row]
        if np.array_equal(right, outputs > 0.5):
            continue
        off = np.abs(outputs - right)
        furthest = int(off.argmax())
        cells = _joined(answers, right), _joined(answers, outputs > 0.5), cut(answers.names[furthest], 60)
        found.append((off[furthest], row, *cells, number(outputs[furthest], 2)))
    return ["right labels", "answered", "furthest off", "probability"], found


def _scores(answers: Answers, rows: np.ndarray, mean: np.ndarray) -> tuple[list[str], list[tuple]]:
    labels = _label_of(answers)
    found = []
    for row, (answer,) in zip(rows.tolist(), mean, strict=True):
        error = float(answer - labels[row])
        found.append((abs(error), row, number(float(labels[row])), number(float(answer)), signed(error)))
    return ["right score", "answer", "error"], found


def _label_of(answers: Answers) -> dict[int, np.ndarray]:
    return dict(zip(answers.rows.tolist(), answers.labels, strict=True))


def _joined(answers: Answers, marked: np.ndarray) -> str:
    return (
        cut(", ".join(name for name, is_on in zip(answers.names, marked, strict=True) if is_on), 160)
        or NONE
    )


def _times_wrong(answers: Answers) -> dict[int, int]:
    is_wrong = answers.found != answers.labels
    if answers.is_multi_label:
        is_wrong = is_wrong.any(axis=1)
    times: dict[int, int] = {}
    for row, wrong in zip(answers.rows.tolist(), is_wrong, strict=True):
        times[row] = times.get(row, 0) + int(wrong)
    return times
