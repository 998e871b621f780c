"""Looking into a search while it runs: something else in the place of an attribute, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import betty.hypergradient
import torch
from torch import Tensor

from agwm.hypergradient.search_step import SearchStep
from benchmarks.variants import Variant

__all__ = ["replaced_hypergradient", "swapped"]


@contextmanager
def swapped(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Put something in the place of an attribute of an object or of a module, for the body."""
    own = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, own)


@contextmanager
def replaced_hypergradient(
    variant: Variant, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Wrap the function that gives the indirect term, agwm's or Betty's, for the body.

    Args:
        variant: A search.
        wrap: Given that function, ``f(vector, curr, prev, sync)``, returns the one to be called.
    """
    kind = variant.engine.inner.config.type
    functions = betty.hypergradient.jvp_fn_mapping
    own = functions[kind]
    functions[kind] = wrap(own)
    term, weights = SearchStep.indirect_term, None

    def as_betty_has_it(vector: Any, curr: Any, prev: Any, sync: bool) -> list[Tensor]:
        return term(curr, vector, prev, weights)

    wrapped = wrap(as_betty_has_it)

    def indirect_term(curr: Any, vector: Any, prev: Any, asked: Any = None) -> list[Tensor]:
        nonlocal weights
        weights = asked  # those that v is by
        found = wrapped(vector, curr, prev, False)
        # what returns nothing has added to the gradient itself
        return [torch.zeros_like(p) for p in prev.trainable_parameters()] if found is None else found

    try:
        # agwm calls its own method, without the detour through Betty's table
        with swapped(SearchStep, "indirect_term", indirect_term):
            yield
    finally:
        functions[kind] = own
