"""Stores of a process: it loads examples, and makes the settings of one row, once for all runs."""

from __future__ import annotations

import json
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
        self._loaded: dict[str, Examples] = {}
        # by the id of a config, which is kept beside, so that no other object takes the id
        self._examples: dict[int, tuple[RunConfig, Examples]] = {}
        self._settings: dict[tuple[int, str], tuple[RunConfig, dict[str, Any]]] = {}

    def examples(self, config: RunConfig) -> Examples:
        """Return the examples of a config."""
        if id(config) not in self._examples:
            key = json.dumps([config.task, config.test_limit, config.to_dict()["data"]])
            if key not in self._loaded:
                self._loaded[key] = load_examples(config)
            self._examples[id(config)] = (config, self._loaded[key])
        return self._examples[id(config)][1]

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Return :func:`agwm.experiments.records.run_settings` of a cell."""
        key = (id(cell.config), cell.method)
        if key not in self._settings:
            self._settings[key] = (cell.config, run_settings(cell.config, cell.method, cell.seed))
        return {**self._settings[key][1], "seed": cell.seed}
