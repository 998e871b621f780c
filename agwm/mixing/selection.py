"""Select the parameters to mix: the linear maps of the backbone, or the matches of patterns."""

from __future__ import annotations

import difflib
import fnmatch
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from agwm.errors import ModelError, SelectionError

__all__ = ["Candidate", "Patterns", "find_candidates", "select"]

Predicate = Callable[..., bool]
Patterns = str | Iterable[str] | Predicate | None

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
_HEADS = (
    "classifier",
    "classification_head",
    "score",
    "lm_head",
    "logits_proj",
    "qa_outputs",
    "sequence_summary",
)
# freshly initialised heads that lie inside base_model, by the model_type of the configuration
_HEADS_WITHIN = {"perceiver": ("decoder",)}


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
        return "it is in a TorchScript module (inject before scripting)"
    if type(module).__module__.startswith("torch.nn.utils.parametri"):
        return "it is already reparametrized by torch.nn.utils.parametrize"
    if not parameter.is_floating_point():
        return f"its dtype is {parameter.dtype}"
    return ""


def _num_batch_dims(module: nn.Module, parameter: nn.Parameter) -> int:
    counts = {getattr(module, name, None) for name in _STACK_COUNTS}
    is_stack = parameter.dim() == 3 and not type(module).__module__.startswith("torch.nn")
    return 1 if is_stack and parameter.shape[0] in counts else 0


def _backbone(model: nn.Module) -> tuple[nn.Module, set[int]]:
    """Return the backbone, and the ids of the modules in it that belong to a head."""
    if not isinstance(model, PreTrainedModel):
        return model, set()
    backbone = model.base_model
    names = _HEADS_WITHIN.get(model.config.model_type, ())
    if backbone is model:
        names = (*names, *_HEADS)
    children = [child for name, child in backbone.named_children() if name in names]
    return backbone, {id(module) for child in children for module in child.modules()}


def find_candidates(model: nn.Module) -> list[Candidate]:
    """List every parameter of at least two dimensions, in the order of ``named_parameters()``.

    Args:
        model: The model.

    Returns:
        One candidate a parameter, tied parameters once with all their places.

    Raises:
        ModelError: If a parameter is on the meta device.
    """
    backbone, heads = _backbone(model)
    inside = {id(module) for module in backbone.modules()} - heads
    candidates: dict[int, Candidate] = {}
    for module_name, module in model.named_modules():
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
            candidate.places.append((module, attribute))
            candidate.is_linear &= _is_linear_map(module, attribute, parameter)
            candidate.in_backbone |= id(module) in inside
            candidate.obstacle = candidate.obstacle or _obstacle(module, parameter)
            candidate.num_batch_dims = max(candidate.num_batch_dims, _num_batch_dims(module, parameter))
    return list(candidates.values())


def _as_patterns(patterns: Patterns) -> list[str | Predicate]:
    if callable(patterns) or isinstance(patterns, str):
        return [patterns]
    if not isinstance(patterns, Iterable):
        raise SelectionError(
            f"Patterns are unusable: expected a glob pattern, several, or a function, got {patterns!r}."
            " See agwm.inject."
        )
    return list(patterns)


def _accepts_parameter(predicate: Predicate) -> bool:
    try:
        inspect.signature(predicate).bind("name", None)
    except TypeError:
        return False
    return True


def _matches(pattern: str | Predicate, candidate: Candidate) -> bool:
    if isinstance(pattern, str):
        return any(fnmatch.fnmatchcase(name, pattern) for name in candidate.aliases)
    if _accepts_parameter(pattern):
        return bool(pattern(candidate.name, candidate.parameter))
    return bool(pattern(candidate.name))


def _closeness(pattern: str, name: str) -> float:
    """Return the likeness, 0 to 1, of a pattern to as many dotted pieces of a name as it has itself."""
    pieces, width = name.split("."), pattern.count(".") + 1
    starts = range(max(1, len(pieces) - width + 1))
    parts = {".".join(pieces[start : start + width]) for start in starts}
    return max(difflib.SequenceMatcher(None, pattern, part).ratio() for part in parts)


def _no_match(kind: str, pattern: str | Predicate, model: nn.Module) -> SelectionError:
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    if not isinstance(pattern, str):
        return SelectionError(
            f"No weight selected: expected the {kind} predicate to accept at least one of"
            f" {len(names)} parameters, got none. It is called as predicate(name, parameter)."
        )
    small = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if small:
        return SelectionError(
            f"No weight of at least two dimensions: expected {kind} pattern {pattern!r} to match one,"
            f" got only {', '.join(map(repr, small[:3]))}. Biases and norms are trained, not mixed."
        )
    plain = pattern.replace("*", "").strip(".")
    close = sorted(names, key=lambda name: _closeness(plain, name), reverse=True)[:3]
    return SelectionError(
        f"Pattern matches nothing: expected {kind} pattern {pattern!r} to match a parameter, got 0 of"
        f" {len(names)}. Close names: {', '.join(map(repr, close))}."
    )


def _union(kind: str, patterns: Patterns, pool: list[Candidate], model: nn.Module) -> set[int]:
    chosen: set[int] = set()
    for pattern in _as_patterns(patterns):
        hits = {id(c.parameter) for c in pool if _matches(pattern, c)}
        if not hits:
            raise _no_match(kind, pattern, model)
        chosen |= hits
    return chosen


def select(model: nn.Module, include: Patterns = None, exclude: Patterns = None) -> list[Candidate]:
    """Choose the parameters to mix.

    Args:
        model: The model.
        include: Glob pattern(s) over parameter names, or ``predicate(name, parameter) -> bool``, over
            all parameters of at least two dimensions. None: the weights of the linear maps in
            ``model.base_model`` (``nn.Linear``, ``Conv1D``, pointwise ``nn.Conv1d``, the projections
            of ``nn.MultiheadAttention``, raw parameters of three dimensions).
        exclude: The same, taken away from what ``include`` chose.

    Returns:
        The candidates to mix, in the order of ``named_parameters()``.

    Raises:
        SelectionError: If a pattern matches nothing, a chosen parameter cannot be mixed, or nothing
            is left to mix.
        ModelError: If a parameter is on the meta device.
    """
    candidates = find_candidates(model)
    if include is None:
        chosen = [c for c in candidates if c.is_default]
    else:
        ids = _union("include", include, candidates, model)
        chosen = [c for c in candidates if id(c.parameter) in ids]
    if exclude is not None:
        dropped = _union("exclude", exclude, candidates, model)
        chosen = [c for c in chosen if id(c.parameter) not in dropped]
    for candidate in chosen:
        if candidate.obstacle:
            raise SelectionError(
                f"Cannot mix {candidate.name!r}: expected a plain floating-point weight, but"
                f" {candidate.obstacle}. Leave it out with exclude."
            )
    if not chosen:
        obstacles = sorted({c.obstacle for c in candidates if c.obstacle})
        reason = f" ({'; '.join(obstacles)})" if obstacles else ""
        raise SelectionError(
            f"No weight to mix in {type(model).__name__}: expected linear maps in its backbone, got"
            f" none among {len(candidates)} parameters of two or more dimensions{reason}."
            " Name weights with include."
        )
    return chosen
