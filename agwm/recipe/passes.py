"""Count forward and backward passes: the cost of a run on any machine.

One pass is a forward and a backward of one batch, a part of a batch counts as that part, a forward that
backward makes again as a third; evaluation is not counted.
"""

from __future__ import annotations

import dataclasses
import math

from agwm.data.sampling import outer_split_size
from agwm.hypergradient.settings import Hypergradient
from agwm.recipe.config import FinetuneConfig
from agwm.training.config import TrainingConfig

__all__ = [
    "COUNTED",
    "STEPS",
    "finetune_passes",
    "finetune_steps",
    "outer_step_passes",
    "same_passes",
    "search_passes",
    "training_passes",
]

# The settings of the two-level recipe that its number of passes depends on.
COUNTED: frozenset[str] = frozenset(
    {
        "mixing.alpha",
        "hypergradient.scheme",
        "hypergradient.order",
        "hypergradient.batch_fraction",
        "search.epochs",
        "search.batch_size",
        "search.gradient_accumulation",
        "search.num_resplits",
        "search.outer_fraction",
        "search.unroll_steps",
        "search.roll_back",
        "final.epochs",
        "final.batch_size",
    }
)

# Those that its number of steps on W depends on.
STEPS: frozenset[str] = frozenset(
    {
        "search.epochs",
        "search.batch_size",
        "search.num_resplits",
        "search.outer_fraction",
        "final.epochs",
        "final.batch_size",
    }
)


def training_passes(config: TrainingConfig, num_examples: int) -> int:
    """Return the passes of one-level training on so many examples."""
    return config.epochs * math.ceil(num_examples / config.batch_size)


def outer_step_passes(hypergradient: Hypergradient) -> float:
    """Return the passes of one outer step: one for direct term and v, then the finite difference."""
    return 1 + hypergradient.num_difference_passes


def search_passes(config: FinetuneConfig, num_steps: int) -> int:
    """Return the passes of so many inner steps of the search, with their outer steps, rounded up.

    Args:
        config: The recipe's settings.
        num_steps: Inner steps; one that is rolled back and taken again counts as one.
    """
    search = config.search
    cut = min(search.gradient_accumulation, search.batch_size)
    again = 1 + (cut - 1) / cut / 3  # of each batch's micro-batches, all but the last
    if not config.mixing.learns_alpha:
        return math.ceil(num_steps * again - 1e-6)
    inner = num_steps * (2 if search.roll_back else 1)
    outer = num_steps // search.unroll_steps * outer_step_passes(config.hypergradient)
    return math.ceil((inner + outer) * again - 1e-6)


def finetune_passes(config: FinetuneConfig, num_examples: int, *, has_outer_dataset: bool = False) -> int:
    """Return the passes of the whole recipe: K searches and the final stage.

    Args:
        config: The recipe's settings.
        num_examples: Size of the training set.
        has_outer_dataset: Whether the outer split is a data set of its own.
    """
    num_steps = _search_steps(config, num_examples, has_outer_dataset)
    searches = config.search.num_resplits * search_passes(config, num_steps)
    return searches + training_passes(config.final, num_examples)


def finetune_steps(config: FinetuneConfig, num_examples: int) -> int:
    """Return the optimizer steps on W of the whole recipe, in all K searches and the final stage.

    A step that is rolled back and taken again counts as one.
    """
    searches = config.search.num_resplits * _search_steps(config, num_examples)
    return searches + training_passes(config.final, num_examples)


def _search_steps(config: FinetuneConfig, num_examples: int, has_outer_dataset: bool = False) -> int:
    num_inner = num_examples
    if not has_outer_dataset:
        num_inner -= outer_split_size(num_examples, config.search.outer_fraction)
    return training_passes(config.search, num_inner)


def same_passes(config: TrainingConfig, passes: int, num_examples: int) -> TrainingConfig:
    """Return the settings with enough whole epochs for so many passes, and never with fewer epochs."""
    epoch = math.ceil(num_examples / config.batch_size)
    return dataclasses.replace(config, epochs=max(config.epochs, math.ceil(passes / epoch)))
