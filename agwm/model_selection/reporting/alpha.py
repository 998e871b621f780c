"""Section on alpha: how far it moved from 1 towards the pretrained weights, by layer and matrix."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from agwm.model_selection.record import FitRecord, FoldRecord
from agwm.model_selection.reporting.blocks import Block, Cell, Section, Table, Text
from agwm.model_selection.reporting.training_pictures import alpha_picture
from agwm.model_selection.reporting.words import NONE, brief

__all__ = ["AlphaGrid", "alpha_grid", "alpha_section"]

_NO_LAYER = -1


@dataclass(frozen=True)
class AlphaGrid:
    """Mean of 1 - alpha over folds.

    Attributes:
        layers: Names of the layers.
        kinds: Names of the kinds of matrices.
        values: Layer by layer; None where a layer has no such matrix.
    """

    layers: list[str]
    kinds: list[str]
    values: list[list[float | None]]


def alpha_grid(folds: Sequence[FoldRecord]) -> AlphaGrid:
    """Arrange the mean of 1 - alpha by layer and kind of matrix, averaged over folds."""
    cells: dict[tuple[int, str], list[float]] = {}
    for fold in folds:
        for name, numbers in fold.alpha.items():
            cells.setdefault(_place(name), []).append(1.0 - numbers["mean"])
    kinds = list(dict.fromkeys(kind for _, kind in cells))
    layers = sorted({layer for layer, _ in cells}, key=lambda layer: (layer == _NO_LAYER, layer))
    return AlphaGrid(
        ["no layer" if layer == _NO_LAYER else f"layer {layer}" for layer in layers],
        kinds,
        [
            [statistics.fmean(cells[layer, kind]) if (layer, kind) in cells else None for kind in kinds]
            for layer in layers
        ],
    )


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


def _place(name: str) -> tuple[int, str]:
    """Split a weight's name into its layer (the first number in it) and the kind of matrix."""
    parts = name.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    kind = [part for part in (parts if number is None else parts[number + 1 :]) if part != "weight"]
    if number is None:
        return _NO_LAYER, ".".join(kind[-2:])
    return int(parts[number]), ".".join(kind)
