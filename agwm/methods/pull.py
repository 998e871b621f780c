"""Pull weights towards their pretrained values."""

from __future__ import annotations

import torch
from torch import Tensor

from agwm.models.families import head_names
from agwm.models.pretrained import Pretrained

__all__ = ["copy_pretrained", "pull_"]


def copy_pretrained(loaded: Pretrained) -> dict[str, Tensor]:
    """Copy the pretrained weights that training will change.

    Args:
        loaded: The freshly loaded model. Its head and other weights that the checkpoint does not hold are
            left out, because their initial values are random.

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

    Without the minimum, a strength above 1 would overshoot :math:`W_0`, and one above 2 would diverge.

    Args:
        weight: W, changed in place. No gradient flows through the change.
        pretrained: W0, the value that the weight moves towards.
        strength: s, at least 0.
    """
    weight.lerp_(pretrained, min(1.0, strength))
