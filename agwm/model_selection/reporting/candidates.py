"""Sections on the candidates: the conclusion, the table with its picture, and all metrics."""

from __future__ import annotations

from agwm.model_selection.record import CandidateRow, FitRecord
from agwm.model_selection.reporting.blocks import Block, Cell, Section, Table, Text
from agwm.model_selection.reporting.score_pictures import score_picture
from agwm.model_selection.reporting.words import (
    NONE,
    brief,
    clean,
    cut,
    interval,
    number,
    p_value,
    seconds,
    signed,
)

__all__ = ["VERDICTS", "candidate_section", "chosen_line", "conclusion_section", "metric_section"]

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
            f"On the test file {brief(test.source, 120)}, scored once at the end: {clean(record.metric)}"
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
            brief(row.name, 80),
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
            chosen_line(record),
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
                [[brief(row.name, 80), VERDICTS[row.verdict], cut(row.failure, 500)] for row in reasons],
            )
        )
    return Section("candidates", "Candidates", blocks)


def metric_section(record: FitRecord) -> Section | None:
    """Return all metrics of all candidates, with their passes; None: there are none."""
    test_scores = record.test.scores if record.test is not None else {}
    names = list(dict.fromkeys(name for row in record.table for name in row.scores) | test_scores)
    if not names:
        return None
    lines: list[list[str | Cell]] = [
        [brief(row.name, 80), *(number(row.scores.get(name)) for name in names), f"{row.passes:,.0f}"]
        for row in record.table
    ]
    if test_scores:
        source = f"{brief(record.chosen, 80)} on the test file"
        lines.append([source, *(number(test_scores.get(name)) for name in names), NONE])
    head = ["candidate", *map(clean, names), "passes"]
    right = frozenset(range(1, len(head)))
    table = Table("All metrics over the held-out rows", head, lines, right, chosen_line(record))
    note = "Passes: forward and backward passes of a batch, over all folds and trials."
    return Section("metrics", "Other metrics", [table, Text(note)])


def _difference_interval(row: CandidateRow) -> str:
    known = row.difference_low is not None and row.difference_high is not None
    return interval(row.difference_low, row.difference_high, signed) if known else ""


def chosen_line(record: FitRecord) -> frozenset[int]:
    """Return the number of the chosen one's line in a table of all candidates."""
    return frozenset(place for place, row in enumerate(record.table) if row.verdict == "chosen")
