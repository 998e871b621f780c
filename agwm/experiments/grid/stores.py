"""Stores of a process: it loads examples, and makes the settings of one row, once for all runs."""

from __future__ import annotations

from typing import Any

from agwm.experiments.config import RunConfig
from agwm.experiments.examples import Examples, load_examples
from agwm.experiments.grid.cells import Cell
from agwm.experiments.records import run_settings

__all__ = ["Stores"]


class Stores:
    """The examples of each task, encoded test examples, and the settings that decide the runs of a row."""

    def __init__(self) -> None:
        self.encoded_tests: dict[tuple, list] = {}
        self._examples: dict[str, Examples] = {}
        # by the id of a config, which is kept beside, so that no other object takes the id
        self._settings: dict[tuple[int, str], tuple[RunConfig, dict[str, Any]]] = {}

    def examples(self, config: RunConfig) -> Examples:
        """Return the examples of a config."""
        key = repr((config.task, config.test_limit, config.data))
        if key not in self._examples:
            self._examples[key] = load_examples(config)
        return self._examples[key]

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Return :func:`agwm.experiments.records.run_settings` of a cell."""
        key = (id(cell.config), cell.method)
        if key not in self._settings:
            self._settings[key] = (cell.config, run_settings(cell.config, cell.method, cell.seed))
        return {**self._settings[key][1], "seed": cell.seed}
