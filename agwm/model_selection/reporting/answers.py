"""Sections on the answers of the chosen candidate: confusion, scores of each class, errors of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agwm.evaluation.classes import confusion, per_class
from agwm.model_selection.record import FitRecord
from agwm.model_selection.reporting.answer_pictures import confusion_picture, scatter_picture
from agwm.model_selection.reporting.blocks import Block, Cell, Folded, Section, Table, Text
from agwm.model_selection.reporting.calibration import calibration_blocks
from agwm.model_selection.reporting.held_out import Answers, held_out, tested
from agwm.model_selection.reporting.words import brief, number, percent

__all__ = ["answer_section", "test_section"]

_MATRIX = 12  # classes whose confusion matrix is a table that can be read
_LONG = 20  # lines of a table that is not folded
_QUANTILES = (0.5, 0.8, 0.95, 1.0)


def answer_section(record: FitRecord) -> Section:
    """Return right and wrong answers of the chosen candidate for the held-out rows."""
    answers = held_out(record, record.chosen)
    title = "Right and wrong answers"
    if answers is None:
        return Section("answers", title, [Text("The chosen candidate has no answers for held-out rows.")])
    rows = len(set(answers.rows.tolist()))
    held = "once" if answers.repeats == 1 else f"{answers.repeats} times, and is counted each time"
    text = f"Answers of {brief(record.chosen, 80)} for {rows} rows. Each was held out {held}."
    return Section("answers", title, [Text(text), *_blocks(answers, "held-out rows", "held")])


def test_section(record: FitRecord) -> Section | None:
    """Return right and wrong answers of the chosen model for the test file; None: there was none."""
    answers = tested(record)
    if answers is None or record.test is None:
        return None
    source = brief(record.test.source, 120)
    text = f"Answers for the {len(answers.rows)} rows of {source}, scored once at the end."
    return Section("test", "Test file", [Text(text), *_blocks(answers, "test rows", "test")])


test_section.__test__ = False  # type: ignore[attr-defined]  # no test case of pytest


def _blocks(answers: Answers, of: str, name: str) -> list[Block]:
    if answers.is_regression:
        return _regression_blocks(answers, of, name)
    confusion = _label_table(answers, of) if answers.is_multi_label else None
    blocks: list[Block] = [confusion] if confusion else _confusion_blocks(answers, of, name)
    classes = _class_table(answers, of)
    blocks.append(classes if len(answers.names) <= _LONG else Folded(classes.title, [classes]))
    return [*blocks, *calibration_blocks(answers, of, name)]


def _confusion_blocks(answers: Answers, of: str, name: str) -> list[Block]:
    names = answers.names
    counts = confusion(answers.outputs, answers.labels, answers.task)
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    blocks: list[Block] = []
    if len(names) <= _MATRIX:
        lines: list[Sequence[str | Cell]] = [
            [brief(right, 40), *(Cell(str(n), float(n / total)) for n in line)]
            for right, line, (total,) in zip(names, counts, totals, strict=True)
        ]
        head = ["right ↓, answered →", *(brief(one, 24) for one in names)]
        title = f"Confusion matrix over {of}: a line is a right class, a column an answer"
        blocks.append(Table(title, head, lines, frozenset(range(1, len(names) + 1))))
    else:
        blocks.append(confusion_picture(counts, names, of, name))
    wrong = counts - np.diag(np.diag(counts))
    pairs = [(int(n), int(i), int(j)) for (i, j), n in np.ndenumerate(wrong) if n]
    if len(names) > 4 and pairs:
        most = sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:15]
        table = [
            [brief(names[i], 60), brief(names[j], 60), str(n), percent(n / totals[i, 0])]
            for n, i, j in most
        ]
        head = ["right class", "answered", "answers", "of the class"]
        title = f"Most frequent confusions over {of}: {len(most)} of {len(pairs)} kinds"
        blocks.append(Table(title, head, table, frozenset({2, 3})))
    return blocks


def _label_table(answers: Answers, of: str) -> Table:
    counts = confusion(answers.outputs, answers.labels, answers.task)
    lines = [
        [brief(label, 60), *(str(int(n)) for n in (one[1, 1], one[1, 0], one[0, 1], one[0, 0]))]
        for label, one in zip(answers.names, counts, strict=True)
    ]
    head = ["label", "right, found", "right, missed", "wrong, answered", "wrong, left out"]
    return Table(f"Right and wrong answers for each label over {of}", head, lines, frozenset(range(1, 5)))


def _class_table(answers: Answers, of: str) -> Table:
    scores = per_class(answers.outputs, answers.labels, answers.task)
    lines = [
        [brief(name, 60), *map(number, (one.precision, one.recall, one.f1)), str(one.support)]
        for name, one in zip(answers.names, scores, strict=True)
    ]
    what = "label" if answers.is_multi_label else "class"
    head = [what, "precision", "recall", "F1", "right labels"]
    return Table(f"Scores of each {what} over {of}", head, lines, frozenset(range(1, 5)))


def _regression_blocks(answers: Answers, of: str, name: str) -> list[Block]:
    errors = answers.found - answers.labels
    sizes = np.quantile(np.abs(errors), _QUANTILES)
    lines = [
        [f"{percent(share)} of the answers" if share < 1 else "every answer", number(float(size))]
        for share, size in zip(_QUANTILES, sizes, strict=True)
    ]
    lines.append(["mean of answer minus right score", number(float(errors.mean()))])
    table = Table(f"Errors over {of}", ["answers", "are off by at most"], lines[:-1], frozenset({1}))
    bias = Text(f"Mean of answer minus right score: {lines[-1][1]}.")
    return [scatter_picture(answers, of, name), table, bias]
