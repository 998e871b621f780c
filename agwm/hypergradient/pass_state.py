"""State that a forward pass reads and changes beside its batch and W: random states and buffers.

A pass that is made again, with other weights, must see what the first one saw: dropout masks, but also
``spectral_norm``'s vectors, a counter, the ranges of an observer. :class:`PassState` is kept before a pass;
:func:`agwm.rng.replay` puts it back for another one, and the present state afterwards.
"""

from __future__ import annotations

import functools
import random
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from agwm.batches import BatchSource
from agwm.hypergradient._betty import ImplicitProblem
from agwm.rng import GENERATORS, RngState, generator_state, set_generator_state

__all__ = ["PassState", "Scope"]

# Entries. BatchNorm and observers write into their buffers without a trace in ``_version``: a small buffer
# is copied at each pass. A larger one (a causal mask) is copied again only when its version has changed.
_SMALL = 1 << 16
_MANY = 256  # a container with more values is data, and is not searched

_Kept = dict[str, tuple[Tensor, Tensor] | None]
_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)


@dataclass
class Scope:
    """Modules and generators that the passes of an engine may use.

    They are found from a problem: the engine's problems, their modules and attributes, attributes of the
    modules, lists and dicts of those, and what the methods of the problems take from the outside by name.
    A generator or module inside another object (a dataset, a class of one's own) is not found.

    Attributes:
        device: Device whose random state belongs to a pass.
        modules: All modules with their submodules.
        generators: Generators of torch, numpy and Python, the global ones left out.
        copies: The last copy of each large buffer and the version that it is of, by module and name.
    """

    device: torch.device
    modules: list[nn.Module] = field(default_factory=list)
    generators: list[Any] = field(default_factory=list)
    copies: dict[tuple[int, str], tuple[Tensor, int, Tensor]] = field(default_factory=dict)

    @functools.cached_property
    def spectral(self) -> list[nn.Module]:
        """Modules with spectral normalization, which estimates a norm of W by an iteration in each pass."""
        return [module for module in self.modules if _is_spectral(module)]

    @classmethod
    def of(cls, *problems: ImplicitProblem, apart_from: Sequence[ImplicitProblem] = ()) -> Scope:
        """Search from problems of an engine that is initialized.

        Args:
            problems: At least one.
            apart_from: Problems that the search does not go through.
        """
        scope, seen = cls(torch.device(problems[0].device)), set(map(id, apart_from))
        for problem in problems:
            scope._search(problem, seen, 4)
        return scope

    def _search(self, value: Any, seen: set[int], depth: int) -> None:
        if id(value) in seen or depth == 0 or isinstance(value, random.SystemRandom):
            return
        seen.add(id(value))
        if isinstance(value, ImplicitProblem):
            own = [
                kind for kind in type(value).__mro__ if not kind.__module__.startswith(("betty.", "agwm."))
            ]
            for part in [*vars(value).values(), *(f for kind in own for f in vars(kind).values())]:
                self._search(part, seen, 4)
        elif isinstance(value, nn.Module):
            self.modules.append(value)
            for name, part in vars(value).items():
                if name not in ("_parameters", "_buffers", "_modules"):
                    self._search(part, seen, 3)
            for child in value._modules.values():
                self._search(child, seen, 3)
        elif isinstance(value, GENERATORS):
            self.generators.append(value)
        elif isinstance(value, Mapping | list | tuple) and len(value) <= _MANY:
            for part in value.values() if isinstance(value, Mapping) else value:
                self._search(part, seen, depth - 1)
        elif isinstance(value, _FUNCTIONS):
            self._search_function(value, seen, depth)
        elif isinstance(value, BatchSource):
            self._search(value.loader, seen, depth)
        elif isinstance(value, DataLoader | Sampler):
            for name in ("generator", "sampler"):
                self._search(getattr(value, name, None), seen, depth)

    def _search_function(self, function: Any, seen: set[int], depth: int) -> None:
        if isinstance(function, functools.partial):
            parts = [function.func, *function.args, *function.keywords.values()]
        elif isinstance(function, types.MethodType):
            parts = [function.__func__, function.__self__]
        else:
            outer, names = function.__globals__, function.__code__.co_names
            named = [outer[name] for name in names if name in outer]
            parts = [value for value in named if isinstance(value, (nn.Module, *GENERATORS))]
            for cell in function.__closure__ or ():
                try:
                    parts.append(cell.cell_contents)
                except ValueError:  # not bound yet
                    continue
        for part in parts:
            self._search(part, seen, depth - 1)

    def copies_of(self, module: nn.Module) -> _Kept:
        """Return the buffers of a module by name, each with a copy of its value."""
        return {name: self.copy(module, name) for name in module._buffers}

    def copy(self, module: nn.Module, name: str) -> tuple[Tensor, Tensor] | None:
        """Return a buffer with a copy of its value; of a large one that has not changed, the last copy."""
        buffer = module._buffers[name]
        if buffer is None:
            return None
        if buffer.is_inference():  # nothing can write into it
            return buffer, buffer
        if buffer.numel() <= _SMALL:
            return buffer, buffer.detach().clone()
        known, version, value = self.copies.get((id(module), name), (None, -1, buffer))
        if known is not buffer or version != buffer._version:
            value = buffer.detach().clone()
            self.copies[id(module), name] = (buffer, buffer._version, value)
        return buffer, value

    def put(self, module: nn.Module, name: str, pair: tuple[Tensor, Tensor] | None) -> None:
        """Put a buffer back, the same tensor with the value that it had."""
        if pair is None or pair[0] is pair[1]:
            module._buffers[name] = None if pair is None else pair[0]
            return
        buffer, value = pair
        module._buffers[name] = buffer
        is_large = buffer.numel() > _SMALL
        known, version, last = self.copies.get((id(module), name), (None, -1, buffer))
        if is_large and known is buffer and last is value and version == buffer._version:
            return
        # through .data: a graph that is still to be walked may hold the buffer, and finds it unchanged
        if buffer.shape == value.shape:
            buffer.data.copy_(value)
        else:
            buffer.data = value.clone()
        if is_large:
            self.copies[id(module), name] = (buffer, buffer._version, value)


def _is_spectral(module: nn.Module) -> bool:
    hooks = module._forward_pre_hooks.values()
    kinds = {type(module).__name__, *(type(hook).__name__ for hook in hooks)}
    return bool(kinds & {"_SpectralNorm", "SpectralNorm"})


@dataclass(frozen=True)
class PassState:
    """Everything that a forward pass reads and changes, as it is at one moment.

    Attributes:
        scope: Where it was looked for.
        random: State of the global generators.
        generators: State of each generator of the scope.
        buffers: Of each module, its buffers by name, each with a copy of its value.
        results: The buffers that spectral normalization had after the pass; see :meth:`note_results`.
    """

    scope: Scope
    random: RngState
    generators: list[Any]
    buffers: list[tuple[nn.Module, _Kept]]
    results: list[tuple[nn.Module, _Kept]] = field(default_factory=list)

    @classmethod
    def capture(cls, scope: Scope) -> PassState:
        """Keep the present state."""
        return cls(
            scope,
            RngState.capture(scope.device),
            [generator_state(generator) for generator in scope.generators],
            [(module, scope.copies_of(module)) for module in scope.modules],
        )

    def note_results(self) -> None:
        """Keep the vectors that spectral normalization reached in the pass.

        They depend on W, but autograd takes them for constants. At the displaced weights of a finite
        difference they would come out otherwise, and the difference would hold what a derivative does not.
        """
        self.results[:] = [(module, self.scope.copies_of(module)) for module in self.scope.spectral]

    @contextmanager
    def holding_results(self) -> Iterator[None]:
        """Let spectral normalization use the vectors noted, without an iteration, in the body."""
        modes = [module.training for module, _ in self.results]
        for module, kept in self.results:
            for name, pair in kept.items():
                self.scope.put(module, name, pair)
            module.training = False
        try:
            yield
        finally:
            for (module, _), mode in zip(self.results, modes, strict=True):
                module.training = mode

    def present(self) -> PassState:
        """Keep the present state, of the same scope."""
        return PassState.capture(self.scope)

    def restore(self) -> None:
        """Make this the present state; buffers are written in place, into the very tensors."""
        self.random.restore()
        for generator, state in zip(self.scope.generators, self.generators, strict=True):
            set_generator_state(generator, state)
        for module, kept in self.buffers:
            for name in [name for name in module._buffers if name not in kept]:
                del module._buffers[name]  # registered by the pass itself, which will do so again
            for name, pair in kept.items():
                self.scope.put(module, name, pair)
