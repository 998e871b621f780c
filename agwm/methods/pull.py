"""A pull towards the pretrained weights, for the methods that have one."""

from __future__ import annotations

import torch
from torch import Tensor

from agwm.models.families import head_names
from agwm.models.pretrained import Pretrained

__all__ = ["copy_pretrained", "pull_"]


def copy_pretrained(loaded: Pretrained) -> dict[str, Tensor]:
    """Copy the weights that training changes and that a checkpoint gave.

    Args:
        loaded: The model as it was loaded. Its head, and whatever else was made anew, has nothing to be
            pulled to but random numbers and is left out.

    Returns:
        Name of a parameter -> a copy, detached, on the same device.
    """
    without = {*head_names(loaded.model), *loaded.fresh}
    return {
        name: parameter.detach().clone()
        for name, parameter in loaded.model.named_parameters()
        if parameter.requires_grad and name not in without
    }


@torch.no_grad()
def pull_(
    weight: Tensor,  # shape: (*shape)
    pretrained: Tensor,  # shape: (*shape)
    strength: float,
) -> None:
    r"""Move a weight towards its pretrained value, in place.

    .. math:: W \leftarrow W - \min(1, s) (W - W_0)

    Above 1 the step would overshoot, and above 2 diverge: there it ends at :math:`W_0`.

    Args:
        weight: Changed; takes no gradient through this.
        pretrained: Where to.
        strength: s, at least 0.
    """
    weight.lerp_(pretrained, min(1.0, strength))
