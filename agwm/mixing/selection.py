"""Select the parameters to mix: the linear maps of the backbone, or the matches of patterns."""

from __future__ import annotations

import difflib
import fnmatch
import inspect
import re
import warnings
from collections.abc import Callable, Iterable

from torch import nn

from agwm.errors import AgwmWarning, SelectionError
from agwm.mixing.candidates import Candidate, find_candidates, reparametrized_layers

__all__ = ["Candidate", "Patterns", "find_candidates", "select"]

Predicate = Callable[..., bool]
Pattern = str | re.Pattern[str] | Predicate
Patterns = Pattern | Iterable[Pattern] | None


def _as_patterns(patterns: Patterns) -> list[Pattern]:
    if callable(patterns) or isinstance(patterns, str | re.Pattern):
        return [patterns]
    if not isinstance(patterns, Iterable):
        raise SelectionError(
            f"Patterns are unusable: expected a glob pattern, several, or a function, got {patterns!r}."
            " See agwm.inject."
        )
    return list(patterns)


def _accepts_parameter(predicate: Predicate) -> bool:
    """Return whether a predicate takes the parameter beside the name.

    A second argument that a function of Python's own may take, such as the start of a search by
    ``re.compile(...).search``, is another one.
    """
    try:
        signature = inspect.signature(predicate)
        signature.bind("name", None)
        if inspect.isbuiltin(predicate):
            required = [p for p in signature.parameters.values() if p.default is inspect.Parameter.empty]
            return len(required) > 1
    except (TypeError, ValueError):
        return False
    return True


def _is_named(pattern: str, name: str) -> bool:
    """Return whether a glob pattern matches a name, or a plain word one of its dotted parts."""
    if any(sign in pattern for sign in ".*?["):
        return fnmatch.fnmatchcase(name, pattern)
    return pattern in name.split(".")


def _matches(pattern: Pattern, candidate: Candidate) -> bool:
    if isinstance(pattern, str):
        return any(_is_named(pattern, name) for name in candidate.aliases)
    if isinstance(pattern, re.Pattern):
        return any(pattern.search(name) for name in candidate.aliases)
    if _accepts_parameter(pattern):
        return bool(pattern(candidate.name, candidate.parameter))
    return bool(pattern(candidate.name))


def _closeness(pattern: str, name: str) -> float:
    """Return the likeness, 0 to 1, of a pattern to as many dotted pieces of a name as it has itself."""
    pieces, width = name.split("."), pattern.count(".") + 1
    starts = range(max(1, len(pieces) - width + 1))
    parts = {".".join(pieces[start : start + width]) for start in starts}
    return max(difflib.SequenceMatcher(None, pattern, part).ratio() for part in parts)


def _no_match(kind: str, pattern: Pattern, model: nn.Module) -> SelectionError:
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    if isinstance(pattern, re.Pattern):
        return SelectionError(
            f"Pattern matches nothing: expected {kind} pattern {pattern.pattern!r} to be found in the name"
            f" of a weight of at least two dimensions, got 0 of {len(names)}. It is a regular expression."
        )
    if not isinstance(pattern, str):
        return SelectionError(
            f"No weight selected: expected the {kind} predicate to accept at least one of"
            f" {len(names)} parameters, got none. It is called as predicate(name, parameter)."
        )
    small = [name for name in names if _is_named(pattern, name)]
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


def _warn_of_reparametrized(model: nn.Module) -> None:
    layers = reparametrized_layers(model)
    if layers:
        warnings.warn(
            f"Linear maps of the backbone are left out: expected plain weights, got {len(layers)} that"
            f" torch.nn.utils reparametrizes, such as {layers[0]!r}. Take the reparametrization off"
            " first if they are to be mixed.",
            AgwmWarning,
            stacklevel=4,
        )


def _warn_of_frozen(chosen: list[Candidate]) -> None:
    frozen = [candidate.name for candidate in chosen if not candidate.parameter.requires_grad]
    if frozen:
        warnings.warn(
            f"Weights to mix are frozen: expected weights that are trained, got {len(frozen)} of"
            f" {len(chosen)} with requires_grad=False, such as {frozen[0]!r}: W stays W0 there, and alpha"
            " has no effect. Leave them out with exclude, or unfreeze them.",
            AgwmWarning,
            stacklevel=4,
        )


def select(model: nn.Module, include: Patterns = None, exclude: Patterns = None) -> list[Candidate]:
    """Choose the parameters to mix.

    Args:
        model: The model.
        include: Glob pattern(s) over parameter names, plain words such as ``"query"`` that match a dotted
            part of a name, compiled regular expressions, or ``predicate(name, parameter) -> bool`` or
            ``predicate(name) -> bool``, over all parameters of at least two dimensions. None: the weights
            of the linear maps in the backbone (``nn.Linear``, ``Conv1D``, pointwise ``nn.Conv1d``, the
            projections of ``nn.MultiheadAttention``, raw parameters of three dimensions);
            see :func:`agwm.mixing.backbone.backbone_modules`.
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
        _warn_of_reparametrized(model)
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
    _warn_of_frozen(chosen)
    return chosen
