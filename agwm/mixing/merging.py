"""Write mixed weights into the parameters of a model."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from agwm.errors import ModelError
from agwm.mixing.hook import MixedWeight
from agwm.shards import part_like

__all__ = ["Place", "places_outside", "write_mixed"]

Place = tuple[nn.Module, str, MixedWeight]


@torch.no_grad()
def write_mixed(places: Sequence[Place]) -> None:
    """Write the mixed weights of every place into its parameter; a parameter of several places once.

    A tie that came apart has several parameters; each is mixed as the hook mixes it.

    Raises:
        ModelError: If a parameter has no values, as on the meta device. No parameter is changed then.
    """
    parameters = {id(m._parameters[a]): (m._parameters[a], weight) for m, a, weight in places}
    for parameter, _ in parameters.values():
        if parameter is None or parameter.is_meta:
            raise ModelError(
                "Cannot merge: expected weights with values, got some on the meta device (a model that is"
                " offloaded keeps them there). Bring the model back to one device first."
            )
    for parameter, weight in parameters.values():
        if parameter is not None:
            parameter.copy_(part_like(weight.mix(parameter), parameter))


def places_outside(model: nn.Module, places: Sequence[Place]) -> list[str]:
    """Return the attributes of modules outside of a model that hold one of its mixed weights.

    A module does not know who else holds its parameters; the garbage collector does.
    """
    wanted = _held_elsewhere(places)
    if not wanted:
        return []
    inside = {id(module._parameters) for module in model.modules()}
    inside |= {id(module._parameters) for module, _, _ in places}
    found = []
    for holder in gc.get_referrers(*wanted.values()):
        if isinstance(holder, dict) and id(holder) not in inside:
            names = [
                name for name, value in holder.items() if isinstance(name, str) and id(value) in wanted
            ]
            found += names if names and _is_of_a_module(holder) else []
    return sorted(set(found))


def _held_elsewhere(places: Sequence[Place]) -> dict[int, nn.Parameter]:
    """Return by id the parameters with more references than those of their places and of the mixup.

    The collector takes a tenth of a second for its answer, whose count is at hand.
    """
    holders = Counter(id(module._parameters[attribute]) for module, attribute, _ in places)
    found = {}
    for module, attribute, _ in places:
        parameter = cast(nn.Parameter, module._parameters[attribute])
        own = holders[id(parameter)] + 3  # the mixup's own, the name here, and the argument of the count
        if sys.getrefcount(parameter) > own:
            found[id(parameter)] = parameter
    return found


def _is_of_a_module(parameters: dict) -> bool:
    """Return whether a dict is the ``_parameters`` of a module, not a dict that a user made."""
    return any(
        (isinstance(owner, nn.Module) and owner.__dict__.get("_parameters") is parameters)
        or (isinstance(owner, dict) and owner.get("_parameters") is parameters)
        for owner in gc.get_referrers(parameters)
    )
