"""Weights that fall back to others at random: the formula of Mixout, and its hooks on a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from agwm.errors import SelectionError
from agwm.mixing.hook import install, uninstall
from agwm.mixing.selection import Candidate, select
from agwm.models.pretrained import Pretrained

__all__ = ["MixoutGradient", "MixoutWeight", "MixoutWeights", "column_shape", "mixable", "mixout"]

# Settings of the gradient: the derivative, or what the official code returns.
MixoutGradient = Literal["exact", "official"]
# Masks have a random stream of their own, so data order and dropout are the same as vanilla's.
_STREAM = 0x6D69786F7574


def mixout(
    task: Tensor,  # shape: (*shape)
    target: Tensor,  # shape: (*shape)
    mask: Tensor,  # bool, broadcastable to (*shape)
    p: float,
) -> Tensor:  # shape: (*shape)
    r"""Return the mixed weights :math:`\tilde W = T + M \odot (W - T) / (1 - p)`.

    It is the paper's :math:`((1 - M) T + M W - p T) / (1 - p)`, whose mean over M is W; computed as
    ``lerp``, so that masked entries are those of the target bit for bit.

    Args:
        task: Weights in training W. Receives gradient ``g * M / (1 - p)``, the derivative.
        target: What masked entries fall back to; receives no gradient.
        mask: True where W is kept.
        p: Probability of falling back, in [0, 1).

    Reference:
        Lee et al., Mixout, ICLR 2020. The official code's gradient is ``g * M``.
    """
    return torch.lerp(target, task, mask.to(task.dtype) / (1 - p))


def column_shape(candidate: Candidate) -> tuple[int, ...] | None:
    """Return the shape of a mask with one entry an input of a linear map; None: it is not known.

    A mask of that shape drops all that leaves a neuron, as the paper has it. Of ``nn.Linear`` an input is
    a column, of ``Conv1D`` a row; in XLNet ``(d_model, heads, d_head)`` the inputs of ``q``, ``k``, ``v``
    and ``r`` are the first dimension, those of ``o`` the other two.
    """
    shape = tuple(candidate.parameter.shape)
    found = set()
    for module, attribute in candidate.places:
        if type(module).__name__ == "XLNetRelativeAttention":
            found.add((1, *shape[1:]) if attribute == "o" else (shape[0], 1, 1))
        elif isinstance(module, Conv1D):
            found.add((shape[0], 1))
        elif isinstance(module, nn.Linear):
            found.add((1, shape[1]))
        else:
            return None
    return found.pop() if len(found) == 1 else None


def mixable(loaded: Pretrained) -> list[Candidate]:
    """Return the linear maps of the backbone that the checkpoint holds: neither head nor a new pooler."""
    try:
        chosen = select(loaded.model)
    except SelectionError:
        return []
    return [candidate for candidate in chosen if not set(candidate.aliases) & set(loaded.fresh)]


class MixoutWeight:
    """A weight under Mixout. All places that read it share this object, so they see one mask.

    Args:
        parameter: W.
        shape: Of its masks.

    Attributes:
        target: What masked entries fall back to; at first a copy of W.
        mask: True where W is kept; None: the weight reads as W.
    """

    def __init__(self, parameter: nn.Parameter, shape: Sequence[int]) -> None:
        self.parameter = parameter
        self.shape = tuple(shape)
        self.target = parameter.detach().clone()
        self.mask: Tensor | None = None
        self.p = 0.0

    def mix(self, task: Tensor) -> Tensor:
        """Return what the model sees for W."""
        return task if self.mask is None else mixout(task, self.target, self.mask, self.p)


class MixoutWeights:
    """All weights of a model under Mixout, until :meth:`remove`.

    Args:
        candidates: The weights.
        shapes: Shapes of their masks.
        p: Probability of falling back to the target.
        seed: Of the masks.
    """

    def __init__(
        self, candidates: Sequence[Candidate], shapes: Sequence[Sequence[int]], p: float, seed: int
    ) -> None:
        self.p = p
        self.weights = [
            MixoutWeight(candidate.task_weights, shape)
            for candidate, shape in zip(candidates, shapes, strict=True)
        ]
        self._device = self.weights[0].target.device
        self._generator = torch.Generator(self._device).manual_seed((seed + _STREAM) % 2**63)
        self._modules: dict[int, nn.Module] = {}
        for candidate, weight in zip(candidates, self.weights, strict=True):
            weight.p = p
            for module, attribute in candidate.places:
                install(module, attribute, weight)
                self._modules[id(module)] = module

    def draw(self) -> None:
        """Draw all masks; they hold until the next draw, also for layers that backward computes again."""
        for weight in self.weights:
            draw = torch.rand(weight.shape, generator=self._generator, device=self._device)
            weight.mask = draw >= self.p

    def clear(self) -> None:
        """Let the model read W."""
        for weight in self.weights:
            weight.mask = None

    def scale_gradients(self) -> None:
        """Turn the derivative ``g * M / (1 - p)`` into the official code's ``g * M``."""
        for weight in self.weights:
            if weight.parameter.grad is not None:
                weight.parameter.grad.mul_(1 - self.p)

    def remove(self) -> None:
        """Take the hooks off; W stays in the model."""
        self.clear()
        for module in self._modules.values():
            uninstall(module)
        self._modules = {}
