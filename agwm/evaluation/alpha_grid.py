"""Alpha by layer and kind of matrix, averaged over runs or folds: what pictures and tables of it show."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["AlphaGrid", "alpha_grid"]

_NO_LAYER = -1


class AlphaGrid(NamedTuple):
    """Mean of 1 - alpha over runs.

    Attributes:
        layers: Names of the layers; weights outside of any come last.
        kinds: Names of the kinds of matrices.
        values: Layer by layer; None where a layer has no such matrix.
    """

    layers: list[str]
    kinds: list[str]
    values: list[list[float | None]]


def alpha_grid(alphas: Iterable[Mapping[str, Mapping[str, float]]]) -> AlphaGrid:
    """Arrange the mean of 1 - alpha by layer and kind of matrix.

    Args:
        alphas: For each run, name of a mixed weight -> numbers on its alpha, of which ``mean`` is taken.

    Example:
        >>> runs = [{"layer.1.key.weight": {"mean": 0.75}}, {"layer.1.key.weight": {"mean": 0.25}}]
        >>> alpha_grid(runs)
        AlphaGrid(layers=['layer 1'], kinds=['key'], values=[[0.5]])
    """
    cells: dict[tuple[int, str], list[float]] = {}
    for alpha in alphas:
        for name, numbers in alpha.items():
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


def _place(name: str) -> tuple[int, str]:
    """Split a weight's name into its layer (the first number in it) and the kind of matrix."""
    parts = name.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    kind = [part for part in (parts if number is None else parts[number + 1 :]) if part != "weight"]
    if number is None:
        return _NO_LAYER, ".".join(kind[-2:])
    return int(parts[number]), ".".join(kind)
