"""Load the examples that a config names, with a fingerprint of their content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import datasets

from agwm.data import TaskData, load_files, load_task
from agwm.data.metrics import METRICS
from agwm.data.quiet import quiet_datasets
from agwm.data.sampling import low_resource_sizes, sample_low_resource
from agwm.data.summary import PartFacts, part_facts
from agwm.errors import ConfigError, DataError, SplitError, with_advice
from agwm.experiments.config import RunConfig

__all__ = ["Examples", "draw", "load_examples", "num_train"]

# Arguments of load_files that no flag has -> what a command line says in their place.
_SETTINGS = {
    "the name of the column": "--text-columns or --label-column",
    "label_names": "--set data.label_names=[...]",
    "or pass multi_label=True": "or use the command fit",
    "regression=True": "--set data.regression=true",
    "regression=False": "--set data.regression=false",
}


@dataclass(frozen=True)
class Examples(TaskData):
    """All examples of a task.

    Attributes:
        fingerprint: Changes with any text or label.
    """

    fingerprint: str

    @cached_property
    def counted(self) -> dict[Any, int]:
        """Counts of test examples that are cut, kept by who made them."""
        return {}

    @cached_property
    def facts(self) -> tuple[PartFacts, PartFacts]:
        """The counts of the training set and of the test set, taken once."""
        return (
            part_facts(self.train, self.test, self.task),
            part_facts(self.test, self.train, self.task),
        )


def load_examples(config: RunConfig) -> Examples:
    """Load own files, GLUE, or an embedded task.

    Args:
        config: The experiment.

    Returns:
        The task and its examples.

    Raises:
        DataError: If the task is unknown, or data are missing or wrong.
        ConfigError: If the metric is a loss, or needs probabilities.
    """
    with quiet_datasets():
        loaded = _load(config)
    task, test = loaded.task, loaded.test
    if config.test_limit is not None:
        test = test.select(range(min(config.test_limit, len(test))))
    digest = hashlib.sha256()
    for part in (loaded.train, test):
        columns = {name: list(part[name]) for name in (*task.text_columns, "label")}
        digest.update(json.dumps(columns, ensure_ascii=False, sort_keys=True).encode())
    names = loaded.sources
    return Examples(task, loaded.train, test, digest.hexdigest()[:16], notes=loaded.notes, sources=names)


def draw(
    config: RunConfig, examples: Examples, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset | None]:
    """Return the training and the dev examples of a seed; of the whole training set there is no dev set."""
    if config.train_size == "whole":
        return examples.train, None
    parts = sample_low_resource(examples.train, _size(config), seed, config.stratified)
    train, dev = (examples.train.select(indices) for indices in parts)
    return train, dev


def _size(config: RunConfig) -> int | None:
    return config.train_size if isinstance(config.train_size, int) else None


def num_train(config: RunConfig, examples: Examples) -> int:
    """Return the number of examples that a run trains on.

    Raises:
        ConfigError: If there are fewer examples than `train_size` asks for.
    """
    if config.train_size == "whole":
        return len(examples.train)
    try:
        return low_resource_sizes(len(examples.train), _size(config))[0]
    except SplitError as error:
        what = str(error).partition(". ")[0]
        raise ConfigError(f"{what}. Pass a smaller number as --train-size, or --train-size all.") from None


def _load(config: RunConfig) -> TaskData:
    data = config.data
    if data.train_file is None or data.test_file is None:  # DataConfig takes both or none
        return load_task(config.task, data.data_dir)
    try:
        loaded = load_files(
            data.train_file,
            data.test_file,
            text_columns=data.text_columns,
            label_column=data.label_column,
            label_names=data.label_names,
            regression=data.regression,
            metric=data.metric,
            name=config.task,
            encoding=data.encoding,
            separator=data.separator,
            sheet=data.sheet,
            positive=data.positive,
            multi_label=False,
        )
    except DataError as error:
        raise DataError(with_advice(str(error), _SETTINGS)) from None
    metric = METRICS[loaded.task.metric]
    if metric.needs_probabilities or not metric.greater_is_better:
        fitting = [
            name
            for name, one in METRICS.items()
            if loaded.task.problem_type in one.problem_types
            and one.greater_is_better
            and not one.needs_probabilities
        ]
        raise ConfigError(
            f"Metric {metric.name!r} does not compare methods: expected a score of predictions,"
            f" one of {', '.join(fitting)}, got a loss or one of probabilities."
            " Set data.metric to one of these."
        )
    return loaded
