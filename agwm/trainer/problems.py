"""The two problems of a search whose loss is a Trainer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from agwm.search.problems import AttentionProblem, TaskWeightProblem

__all__ = ["problems_with"]


def problems_with(
    compute_loss: Callable[..., Any], outer: type[AttentionProblem]
) -> tuple[type[TaskWeightProblem], type[AttentionProblem]]:
    """Return the classes of the inner and the outer problem.

    Args:
        compute_loss: Called with the model and a batch, which it may change.
        outer: A class whose loss is another: it stays as it is.
    """

    class TrainerInner(TaskWeightProblem):
        def loss(self, batch: Any) -> Tensor:
            return compute_loss(self.model, dict(batch))

    class TrainerOuter(AttentionProblem):
        def loss(self, batch: Any) -> Tensor:
            return compute_loss(self.model, dict(batch))

    return TrainerInner, TrainerOuter if outer is AttentionProblem else outer
