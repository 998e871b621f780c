"""Estimate the cost of a grid's cells: passes, and the time where a pass has been timed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from agwm.checks import Interval, check_value
from agwm.data.sampling import low_resource_sizes
from agwm.data.tasks import TASKS
from agwm.errors import ConfigError, close_names, one_line, shown
from agwm.experiments.config import RunConfig
from agwm.experiments.record import Record
from agwm.methods import make_method

__all__ = [
    "PassTime",
    "assumed_seconds",
    "check_seconds",
    "evaluation_passes",
    "measured_pass_times",
    "num_train",
    "planned_passes",
]

# Examples for training and for testing (GLUE's validation set) in the official files.
_GLUE_SIZES: dict[str, tuple[int, int]] = {
    "cola": (8551, 1043),
    "mrpc": (3668, 408),
    "stsb": (5749, 1500),
    "rte": (2490, 277),
    "sst2": (67349, 872),
    "qnli": (104743, 5463),
    "qqp": (363846, 40430),
    "mnli": (392702, 9815),
}
_FORWARD = 1 / 3  # of a pass


@dataclass(frozen=True)
class PassTime:
    """Seconds of a forward and backward pass of a batch.

    Attributes:
        seconds: The time.
        source: Its origin, in words that follow "seconds a pass".
    """

    seconds: float
    source: str


def num_train(config: RunConfig) -> int | None:
    """Return the number of training examples; None where only the files know it."""
    if isinstance(config.train_size, int):
        return config.train_size
    known = _GLUE_SIZES.get(config.task)
    if known is None or config.train_size == "whole":
        return None if known is None else known[0]
    return low_resource_sizes(known[0], None)[0]


def planned_passes(config: RunConfig, method: str, num_examples: int) -> float:
    """Return the passes that a run will take, as its record will say.

    Args:
        config: The experiment.
        method: One of ``METHODS``.
        num_examples: Number of training examples.
    """
    recipe = config.finetune_config(config.seed_list[0])
    made = make_method(method, config.rivals)
    return made.passes(config.vanilla, recipe, num_examples, _is_regression(config))


def _is_regression(config: RunConfig) -> bool:
    """True if labels are scores. For own files only the settings can tell."""
    if config.data.train_file is not None:
        return bool(config.data.regression)
    return config.task in TASKS and TASKS[config.task].is_regression


def evaluation_passes(config: RunConfig) -> float:
    """Return what scoring on the test set costs, in passes of a batch; 0 where its size is not known."""
    size = _GLUE_SIZES.get(config.task, (0, 0))[1] if config.data.train_file is None else 0
    size = size if config.test_limit is None else min(size, config.test_limit)
    return size / config.vanilla.batch_size * _FORWARD


def measured_pass_times(records: Iterable[Record]) -> dict[str, PassTime]:
    """Return the mean time of a pass in finished runs, by the name of the model.

    Args:
        records: The records of :func:`agwm.experiments.records.load_records`.
    """
    totals: dict[str, list[float]] = {}
    for record in records:
        train = record.train_info
        if train.passes > 0:
            total = totals.setdefault(record.model, [0.0, 0.0, 0.0])
            for place, value in enumerate((train.total_seconds, train.passes, 1)):
                total[place] += value
    return {
        model: PassTime(seconds / passes, f"measured in {runs:.0f} finished runs")
        for model, (seconds, passes, runs) in totals.items()
    }


def assumed_seconds(value: object, models: Sequence[str], path: Path) -> dict[str, float]:
    """Return what a grid file assumes of the seconds of a pass: model -> seconds.

    Args:
        value: Value of the key ``seconds_per_pass``: seconds, or a mapping.
        models: Models of the grid.
        path: The file, for messages.

    Returns:
        Under ``""`` the seconds of every model that is not named.

    Raises:
        ConfigError: If a time is no finite number > 0, or of a model that the grid does not have.
    """
    if not isinstance(value, Mapping):
        return {"": check_seconds(value, f"Key 'seconds_per_pass' in {shown(path)}")}
    for model in value:
        if model not in models:
            raise ConfigError(
                f"Wrong key {shown(f'seconds_per_pass.{model}')} in {shown(path)}: expected a model of the"
                f" grid, one of {one_line(', '.join(models))}.{close_names(str(model), models)}"
            )
    return {
        model: check_seconds(seconds, f"Key 'seconds_per_pass' in {shown(path)}")
        for model, seconds in value.items()
    }


def check_seconds(value: Any, source: str) -> float:
    """Return the seconds of a pass.

    Raises:
        ConfigError: If the value is no finite number > 0.
    """
    check_value(source, Annotated[float, Interval(0, is_open=True)], value)
    return float(value)
