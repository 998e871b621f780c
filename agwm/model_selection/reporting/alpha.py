"""Section on alpha: how far it moved from 1 towards the pretrained weights, by layer and matrix."""

from __future__ import annotations

from collections.abc import Sequence

from agwm.evaluation.alpha_grid import AlphaGrid
from agwm.evaluation.alpha_grid import alpha_grid as arranged
from agwm.model_selection.record import FitRecord, FoldRecord
from agwm.model_selection.reporting.blocks import Block, Cell, Section, Table, Text
from agwm.model_selection.reporting.training_pictures import alpha_picture
from agwm.model_selection.reporting.words import NONE, brief

__all__ = ["alpha_grid", "alpha_section"]


def alpha_grid(folds: Sequence[FoldRecord]) -> AlphaGrid:
    """Arrange the mean of 1 - alpha by layer and kind of matrix, averaged over folds."""
    return arranged(fold.alpha for fold in folds)


def alpha_section(record: FitRecord) -> Section | None:
    """Return alpha of every candidate that has one; None: none has."""
    blocks: list[Block] = []
    for row in record.table:
        folds = [fold for fold in record.folds if fold.candidate == row.name and fold.alpha]
        if folds:
            grid = alpha_grid(folds)
            place = f"alpha-{len(blocks)}"
            blocks += [alpha_picture(row.name, grid.layers, grid.values, place), _table(row.name, grid)]
    if not blocks:
        return None
    text = (
        "Alpha mixes task weights and pretrained weights. 1 − α is 0 where the task weights stand alone;"
        " the larger it is, the more of the pretrained weights. Numbers are means over the folds, in"
        " thousandths."
    )
    return Section("alpha", "Alpha by layer", [Text(text), *blocks])


def _table(name: str, grid: AlphaGrid) -> Table:
    known = [abs(value) for line in grid.values for value in line if value is not None]
    largest = max(known) or 1.0
    lines = [
        [layer, *(NONE if v is None else Cell(f"{1000 * v:.1f}", abs(v) / largest) for v in line)]
        for layer, line in zip(grid.layers, grid.values, strict=True)
    ]
    title = f"1 − α of {brief(name, 80)}, in thousandths"
    return Table(
        title,
        ["layer", *(brief(kind, 60) for kind in grid.kinds)],
        lines,
        frozenset(range(1, len(grid.kinds) + 1)),
    )
