"""Estimate the cost of a run in passes: the forward and backward pass of a batch."""

from __future__ import annotations

from agwm.data.sampling import low_resource_sizes
from agwm.data.tasks import TASKS
from agwm.experiments.config import RunConfig
from agwm.methods import make_method

__all__ = ["evaluation_passes", "num_train", "planned_passes"]

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
    known = TASKS.get(config.task)
    is_regression = bool(config.data.regression) if known is None else known.is_regression
    return made.passes(config.vanilla, recipe, num_examples, is_regression)


def evaluation_passes(config: RunConfig) -> float:
    """Return what scoring on the test set costs, in passes of a batch; 0 where its size is not known."""
    size = _GLUE_SIZES.get(config.task, (0, 0))[1]
    if config.test_limit is not None:
        size = min(size, config.test_limit)
    return size / config.vanilla.batch_size * _FORWARD
