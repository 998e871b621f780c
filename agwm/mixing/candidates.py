"""The parameters that could be mixed, and every place that reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from transformers.pytorch_utils import Conv1D

from agwm.errors import ModelError
from agwm.mixing.backbone import backbone_modules

__all__ = ["Candidate", "find_candidates", "reparametrized_layers"]

_NOT_MATRICES = (nn.Embedding, nn.EmbeddingBag, _ConvNd, nn.Bilinear)
# a module with one of these attributes stacks that many matrices
_STACK_COUNTS = (
    "num_experts",
    "num_local_experts",
    "n_experts",
    "n_routed_experts",
    "num_groups",
    "n_mamba_heads",
)
_NOT_LINEAR = ("emb", "bias", "conv", "pos", "log", "latent", "probe", "token", "scale", "norm")


@dataclass(eq=False)
class Candidate:
    """A parameter of at least two dimensions and everything that reads it.

    Attributes:
        name: Its name in ``model.named_parameters()``.
        aliases: All its names (several when it is tied).
        parameter: The parameter, that is the task weights W.
        places: Every ``(module, attribute)`` that holds it.
        num_batch_dims: Leading dimensions that count matrices (stacked experts).
        is_linear: True if every place is a linear map.
        in_backbone: True if any place is in ``model.base_model``.
        obstacle: Why it cannot be mixed, or an empty string.
    """

    name: str
    parameter: nn.Parameter
    aliases: list[str] = field(default_factory=list)
    places: list[tuple[nn.Module, str]] = field(default_factory=list)
    num_batch_dims: int = 0
    is_linear: bool = True
    in_backbone: bool = False
    obstacle: str = ""

    @property
    def is_default(self) -> bool:
        """True if the default selection mixes it."""
        return self.is_linear and self.in_backbone

    @property
    def task_weights(self) -> nn.Parameter:
        """W as the model holds it now, also where the parameter object was replaced."""
        module, attribute = self.places[0]
        return cast(nn.Parameter, module._parameters[attribute])


def _is_linear_map(module: nn.Module, attribute: str, parameter: nn.Parameter) -> bool:
    if isinstance(module, nn.Linear | Conv1D):
        return attribute == "weight"
    if isinstance(module, nn.Conv1d):
        return attribute == "weight" and module.kernel_size == (1,)
    if isinstance(module, nn.MultiheadAttention):
        return attribute.endswith("proj_weight")
    if isinstance(module, _NOT_MATRICES) or type(module).__module__.startswith("torch.nn"):
        return False
    if type(module).__name__.endswith("Linear"):
        return attribute == "weight" and parameter.dim() == 2
    is_matrix = parameter.dim() >= 3 and sum(size > 1 for size in parameter.shape) >= 2
    return is_matrix and not any(word in attribute.lower() for word in _NOT_LINEAR)


def _obstacle(module: nn.Module, parameter: nn.Parameter) -> str:
    if isinstance(module, nn.RNNBase):
        return "recurrent layers read a flattened copy of their weights"
    if isinstance(module, torch.jit.ScriptModule):
        return "it is in a TorchScript module (inject before scripting, then merge() and script)"
    if type(module).__module__.startswith("torch.nn.utils.parametri"):
        return "it is already reparametrized by torch.nn.utils.parametrize"
    if not parameter.is_floating_point():
        return f"its dtype is {parameter.dtype}"
    return ""


def _num_batch_dims(module: nn.Module, parameter: nn.Parameter) -> int:
    counts = {getattr(module, name, None) for name in _STACK_COUNTS}
    is_stack = parameter.dim() == 3 and not type(module).__module__.startswith("torch.nn")
    return 1 if is_stack and parameter.shape[0] in counts else 0


def find_candidates(model: nn.Module) -> list[Candidate]:
    """List every parameter of at least two dimensions, in the order of ``named_parameters()``.

    Args:
        model: The model.

    Returns:
        One candidate a parameter, tied parameters once with all their places.

    Raises:
        ModelError: If a parameter is on the meta device.
    """
    inside = backbone_modules(model)
    candidates: dict[int, Candidate] = {}
    for module_name, module in model.named_modules(remove_duplicate=False):  # all names of a shared one
        for attribute, parameter in module._parameters.items():
            name = f"{module_name}.{attribute}" if module_name else attribute
            if parameter is not None and is_lazy(parameter):
                raise ModelError(
                    f"Weights have no shape yet: expected initialised parameters, got the lazy {name!r}."
                    " Call the model once first."
                )
            if parameter is None or parameter.dim() < 2:
                continue
            if parameter.is_meta:
                raise ModelError(
                    f"Weights are on the meta device: expected real values, got {name!r} without"
                    " any. Load the model with from_pretrained without device_map='meta', or call"
                    " model.to_empty(...) and load a checkpoint first."
                )
            candidate = candidates.setdefault(id(parameter), Candidate(name, parameter))
            candidate.aliases.append(name)
            if any(module is known and attribute == a for known, a in candidate.places):
                continue
            candidate.places.append((module, attribute))
            candidate.is_linear &= _is_linear_map(module, attribute, parameter)
            candidate.in_backbone |= id(module) in inside
            candidate.obstacle = candidate.obstacle or _obstacle(module, parameter)
            candidate.num_batch_dims = max(candidate.num_batch_dims, _num_batch_dims(module, parameter))
    return list(candidates.values())


def reparametrized_layers(model: nn.Module) -> list[str]:
    """Return the names of linear maps in the backbone whose weight is computed by ``torch.nn.utils``."""
    inside = backbone_modules(model)
    return [
        name
        for name, module in model.named_modules()
        if id(module) in inside
        and isinstance(module, nn.Linear | Conv1D)
        and "weight" not in module._parameters
        and hasattr(module, "weight")
    ]
