"""Data that runs share, loaded once in a process."""

from __future__ import annotations

import json

from agwm.experiments.config import RunConfig
from agwm.experiments.examples import Examples, load_examples

__all__ = ["Stores"]


class Stores:
    """The examples of each task, and encoded test examples."""

    def __init__(self) -> None:
        self.encoded_tests: dict[tuple, list] = {}
        self._examples: dict[str, Examples] = {}

    def examples(self, config: RunConfig) -> Examples:
        """Return the examples of a config."""
        key = json.dumps([config.task, config.test_limit, config.to_dict()["data"]])
        if key not in self._examples:
            self._examples[key] = load_examples(config)
        return self._examples[key]
