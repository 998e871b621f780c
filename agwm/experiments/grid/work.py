"""The work of a grid: its cells, the processes that run them, and what becomes of earlier records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from agwm.checks import Interval, annotations_of, check_value
from agwm.experiments.grid.cells import Cell
from agwm.experiments.grid.stores import Stores

__all__ = ["Work"]


@dataclass(frozen=True)
class Work:
    """Cells to run, and how.

    Attributes:
        cells: All of one output folder.
        jobs: Workers at once; 0: no worker and no backend, the cells run in this process.
        backend: Where the loops that lead the workers run: threads of this process, or Ray (extra ``ray``).
        threads: Torch threads of a worker.
        override: Run everything again, replacing records.
        retry_failed: Run failed cells again.
        scores_test: Score on the test examples.
        stores: Examples and settings, made once for all steps.

    Raises:
        ConfigError: If the backend is unknown, or a number out of range.
    """

    cells: Sequence[Cell]
    jobs: Annotated[int, Interval(0, 1024)] = 1
    backend: Literal["threading", "ray"] = "threading"
    threads: Annotated[int, Interval(1, 1024)] = 1
    override: bool = False
    retry_failed: bool = False
    scores_test: bool = True
    stores: Stores = field(default_factory=Stores)

    def __post_init__(self) -> None:
        for name in ("jobs", "backend", "threads"):
            check_value(f"--{name}", annotations_of(Work)[name], getattr(self, name))

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.cells[0].config.output_dir)
