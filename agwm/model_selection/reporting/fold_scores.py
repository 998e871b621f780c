"""Section on the scores by fold, with what failed there."""

from __future__ import annotations

from agwm.model_selection.record import FitRecord
from agwm.model_selection.reporting.blocks import Block, Folded, Section, Table, Text
from agwm.model_selection.reporting.candidates import chosen_line
from agwm.model_selection.reporting.score_pictures import fold_picture
from agwm.model_selection.reporting.words import NONE, brief, clean, cut, number

__all__ = ["fold_section"]

_LONG = 12  # lines or columns of a table that is not folded


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
        lines.append([_name(row.name), *cells])
    several = len({repeat for repeat, _ in places}) > 1
    head = [f"{repeat + 1}.{fold + 1}" if several else f"{fold + 1}" for repeat, fold in places]
    title = f"{clean(record.metric)} by {'repetition and fold' if several else 'fold'}"
    table = Table(
        title, ["candidate", *head], lines, frozenset(range(1, len(places) + 1)), chosen_line(record)
    )
    blocks: list[Block] = [Text(_fold_sizes(record))]
    if any(fold.score is not None for fold in record.folds):
        blocks.append(fold_picture(record))
    is_long = max(len(places), len(lines)) > _LONG
    blocks.append(Folded("All scores", [table]) if is_long else table)
    failed = [fold for fold in record.folds if fold.failure]
    if failed:
        lines = [
            [_name(one.candidate), f"{one.repeat + 1}.{one.fold + 1}", cut(one.failure, 500)]
            for one in failed
        ]
        failures = Table("Failures", ["candidate", "repetition.fold", "reason"], lines)
        is_long = len(failed) > _LONG
        blocks.append(Folded(f"{len(failed)} failures", [failures]) if is_long else failures)
    return Section("folds", "Scores by fold", blocks)


def _name(candidate: str) -> str:
    return brief(candidate, 80)


def _fold_sizes(record: FitRecord) -> str:
    repeats = len({fold.repeat for fold in record.folds})
    folds = len({fold.fold for fold in record.folds})
    sizes = sorted({len(fold.rows) for fold in record.folds})
    held = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return (
        f"{folds} fold{'s' * (folds > 1)}, {repeats} repetition{'s' * (repeats > 1)}: each candidate is"
        f" trained without the {held} rows of a fold, and scored on them."
    )
