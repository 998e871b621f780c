"""The formula of Mixout, and the hooks that apply it to the weights of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from agwm.errors import SelectionError
from agwm.mixing.hook import install, uninstall
from agwm.mixing.selection import Candidate, select
from agwm.models.pretrained import Pretrained
from agwm.rng import generator_state, set_generator_state

__all__ = ["MixoutGradient", "MixoutWeight", "MixoutWeights", "column_shape", "mixable", "mixout"]

# Values of the setting ``gradient``: the derivative, or the official code's gradient.
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

    It is the paper's :math:`((1 - M) T + M W - p T) / (1 - p)`, whose mean over M is W. The function
    uses ``lerp``, so that masked entries equal the target bit for bit.

    Args:
        task: W, the weights in training. Receives gradient ``g * M / (1 - p)``, the derivative.
        target: T, the values of the masked entries. Receives no gradient.
        mask: M: True keeps W, False takes T.
        p: Probability of a masked entry, in [0, 1).

    Reference:
        Lee et al., Mixout, ICLR 2020. The official code's gradient is ``g * M``.
    """
    return torch.lerp(target, task, mask.to(task.dtype) / (1 - p))


def column_shape(candidate: Candidate) -> tuple[int, ...] | None:
    """Return the shape of a mask with one entry per input of a linear map; None if it is not known.

    A mask of that shape drops all weights of an input neuron, as in the paper. An input of ``nn.Linear``
    is a column, an input of ``Conv1D`` a row. XLNet's weights have shape ``(d_model, heads, d_head)``:
    the inputs of ``q``, ``k``, ``v`` and ``r`` are the first dimension, those of ``o`` the other two.
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
    """Return the linear maps of the backbone that the checkpoint holds. A new pooler is left out."""
    try:
        chosen = select(loaded.model)
    except SelectionError:
        return []
    return [candidate for candidate in chosen if not set(candidate.aliases) & set(loaded.fresh)]


class MixoutWeight:
    """A weight under Mixout. All places that read it share this object, so they see one mask.

    Args:
        parameter: W.
        shape: Shape of its masks.

    Attributes:
        target: Values of the masked entries; at first a copy of W.
        mask: True keeps an entry of W, False takes the target's; None: the weight reads as W.
    """

    def __init__(self, parameter: nn.Parameter, shape: Sequence[int]) -> None:
        self.parameter = parameter
        self.shape = tuple(shape)
        self.target = parameter.detach().clone()
        self.mask: Tensor | None = None
        self.p = 0.0

    def mix(self, task: Tensor) -> Tensor:
        """Return the weight that the model sees in place of W."""
        return task if self.mask is None else mixout(task, self.target, self.mask, self.p)


class MixoutWeights:
    """All weights of a model under Mixout, until :meth:`remove`.

    Args:
        candidates: The weights.
        shapes: Shapes of their masks.
        p: Probability that an entry falls back to the target.
        seed: Seed of the masks.
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
        """Draw all masks. They stay until the next draw, so layers recomputed in backward see them too."""
        for weight in self.weights:
            draw = torch.rand(weight.shape, generator=self._generator, device=self._device)
            weight.mask = draw >= self.p

    def to_tree(self) -> Any:
        """Return the state of the generator of masks."""
        return generator_state(self._generator)

    def load_tree(self, tree: Any) -> None:
        """Take back the state of :meth:`to_tree`."""
        set_generator_state(self._generator, tree)

    def clear(self) -> None:
        """Remove all masks, so that the model reads W."""
        for weight in self.weights:
            weight.mask = None

    def scale_gradients(self) -> None:
        """Turn the derivative ``g * M / (1 - p)`` into the official code's ``g * M``."""
        for weight in self.weights:
            if weight.parameter.grad is not None:
                weight.parameter.grad.mul_(1 - self.p)

    def remove(self) -> None:
        """Remove the hooks. W stays in the model."""
        self.clear()
        for module in self._modules.values():
            uninstall(module)
        self._modules = {}
