"""Sections on the candidates: the conclusion, the table with its picture, and the scores by fold."""

from __future__ import annotations

from collections.abc import Sequence

from agwm.model_selection.record import CandidateRow, FitRecord
from agwm.model_selection.reporting.blocks import Block, Cell, Folded, Section, Table, Text
from agwm.model_selection.reporting.score_pictures import fold_picture, score_picture
from agwm.model_selection.reporting.words import (
    NONE,
    clean,
    cut,
    interval,
    number,
    p_value,
    seconds,
    signed,
)

__all__ = ["VERDICTS", "candidate_section", "conclusion_section", "fold_section", "metric_section"]

VERDICTS = {
    "chosen": "chosen",
    "tied": "not told apart",
    "worse": "worse",
    "not learned": "did not learn",
    "failed": "failed",
    "reference": "constant answer",
}


def conclusion_section(record: FitRecord) -> Section:
    """Return the conclusion, with the word of the test file."""
    blocks: list[Block] = [Text(clean(record.conclusion))]
    test = record.test
    chosen = next((row for row in record.table if row.name == record.chosen), None)
    if test is not None:
        text = (
            f"On the test file {cut(test.source, 120)}, scored once at the end: {clean(record.metric)}"
            f" {number(test.score)} {interval(test.low, test.high)}."
        )
        if chosen is not None and chosen.low is not None and chosen.high is not None:
            is_inside = chosen.low <= test.score <= chosen.high
            text += (
                f" The interval from cross-validation, {interval(chosen.low, chosen.high)},"
                f" {'holds it' if is_inside else 'does not hold it'}."
            )
        blocks.append(Text(text))
    return Section("conclusion", "Conclusion", blocks)


def candidate_section(record: FitRecord) -> Section:
    """Return the table of candidates, its picture, and why some did not learn or failed."""
    better = "higher" if record.greater_is_better else "lower"
    lines = [
        [
            cut(row.name, 80),
            VERDICTS[row.verdict],
            number(row.score),
            interval(row.low, row.high),
            " ".join(filter(None, (signed(row.difference), _difference_interval(row)))),
            p_value(row.p_value),
            seconds(row.seconds),
            cut(row.settings, 200) or NONE,
        ]
        for row in record.table
    ]
    blocks: list[Block] = [
        Table(
            f"Candidates by {clean(record.metric)}, the best first; {better} is better",
            ["candidate", "verdict", "score", "95 % interval", "difference", "p", "time", "settings"],
            lines,
            frozenset({2, 3, 4, 5, 6}),
            _chosen_line(record),
        ),
        Text(
            "Score: mean over the held-out parts. Difference: from the chosen one, with its 95 % interval."
            " p: corrected resampled t-test (Nadeau and Bengio), Holm's correction over the candidates."
            " Time: trials and training on all folds."
        ),
    ]
    if any(row.score is not None for row in record.table):
        blocks.append(score_picture(record))
    if reasons := [row for row in record.table if row.failure]:
        blocks.append(
            Table(
                "Why some did not learn or failed",
                ["candidate", "verdict", "reason"],
                [[cut(row.name, 80), VERDICTS[row.verdict], cut(row.failure, 500)] for row in reasons],
            )
        )
    return Section("candidates", "Candidates", blocks)


def fold_section(record: FitRecord) -> Section:
    """Return the score of each candidate on each fold."""
    places = sorted({(fold.repeat, fold.fold) for fold in record.folds})
    if not places:
        return Section("folds", "Scores by fold", [Text("No fold was run.")])
    scores = {(fold.candidate, fold.repeat, fold.fold): fold for fold in record.folds}
    lines = []
    for row in record.table:
        found = [scores.get((row.name, *place)) for place in places]
        cells = [
            NONE if one is None else "failed" if one.score is None else number(one.score) for one in found
        ]
        lines.append([cut(row.name, 80), *cells])
    several = len({repeat for repeat, _ in places}) > 1
    head = [f"{repeat + 1}.{fold + 1}" if several else f"{fold + 1}" for repeat, fold in places]
    title = f"{clean(record.metric)} by {'repetition and fold' if several else 'fold'}"
    table = Table(
        title, ["candidate", *head], lines, frozenset(range(1, len(places) + 1)), _chosen_line(record)
    )
    blocks: list[Block] = [Text(_fold_sizes(record))]
    if any(fold.score is not None for fold in record.folds):
        blocks.append(fold_picture(record))
    blocks.append(table if len(places) <= 12 and len(lines) <= 12 else Folded("All scores", [table]))
    return Section("folds", "Scores by fold", blocks)


def metric_section(record: FitRecord) -> Section | None:
    """Return all metrics of all candidates, with their passes; None: there are none."""
    names = list(dict.fromkeys(name for row in record.table for name in row.scores))
    if not names:
        return None
    lines: list[list[str | Cell]] = [
        [cut(row.name, 80), *(number(row.scores.get(name)) for name in names), f"{row.passes:,.0f}"]
        for row in record.table
    ]
    test_scores = record.test.scores if record.test is not None else {}
    if test_scores:
        source = f"{cut(record.chosen, 80)} on the test file"
        lines.append([source, *(number(test_scores.get(name)) for name in names), NONE])
    head = ["candidate", *map(clean, names), "passes"]
    right = frozenset(range(1, len(head)))
    table = Table("All metrics over the held-out rows", head, lines, right, _chosen_line(record))
    note = "Passes: forward and backward passes of a batch, over all folds and trials."
    return Section("metrics", "Other metrics", [table, Text(note)])


def _difference_interval(row: CandidateRow) -> str:
    known = row.difference_low is not None and row.difference_high is not None
    return interval(row.difference_low, row.difference_high, signed) if known else ""


def _chosen_line(record: FitRecord) -> frozenset[int]:
    return frozenset(place for place, row in enumerate(record.table) if row.verdict == "chosen")


def _fold_sizes(record: FitRecord) -> str:
    repeats = len({fold.repeat for fold in record.folds})
    folds = len({fold.fold for fold in record.folds})
    sizes: Sequence[int] = sorted({len(fold.rows) for fold in record.folds})
    held = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return (
        f"{folds} fold{'s' * (folds > 1)}, {repeats} repetition{'s' * (repeats > 1)}: each candidate is trained"
        f" without the {held} rows of a fold, and scored on them."
    )
