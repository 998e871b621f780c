"""The pretrained weights W0 of a mixup, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from agwm.mixing.candidates import Candidate
from agwm.mixing.mixed_weight import MixedWeight

__all__ = ["PretrainedWeights"]


class PretrainedWeights(Mapping[str, Tensor]):
    """Read-only view: weight name -> pretrained weights W0, in device and dtype of W.

    Of a weight on the meta device it gives W0 as it was kept.
    """

    def __init__(self, weights: Mapping[str, MixedWeight], candidates: Mapping[str, Candidate]) -> None:
        self._weights = weights
        self._candidates = candidates

    def __getitem__(self, name: str) -> Tensor:
        weight, task = self._weights[name], self._candidates[name].task_weights
        return weight.pretrained if task.is_meta else weight.pretrained_like(task)

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)
