"""The checkpoint of an engine: refused whole where it does not fit, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from agwm.errors import DataError, border, shown
from agwm.files import load_tree

__all__ = ["read_checkpoint"]

_REMEDY = "Build the engine as the one that wrote it, or start without it."
_OWN = {"global_step", "history", "inner", "outer", "rng"}


def read_checkpoint(path: str | Path, problems: Mapping[str, Any]) -> dict[str, Any]:
    """Read a checkpoint, and check that it is of an engine that was built the same way.

    Args:
        path: The file.
        problems: ``"inner"`` and ``"outer"`` -> the problem that is to take its part.

    Raises:
        DataError: If it cannot be read, is no checkpoint, or its weights, optimizers, schedulers or loaders
            are others than the problems'.
    """
    tree = load_tree(path)
    if not (isinstance(tree, dict) and _OWN <= set(tree)):
        raise DataError(
            f"Cannot resume from {shown(Path(path))}: expected a checkpoint that an engine wrote, got"
            " another file. Check the path."
        )
    for name, problem in problems.items():
        with resuming(path):
            own, other = dict(_form(problem.to_tree())), dict(_form(tree[name]))
        for part in (*own, *other):
            if own.get(part) != other.get(part):
                raise DataError(
                    f"Cannot resume from {shown(Path(path))}: expected {name} {part}"
                    f" {own.get(part, 'none')}, got {other.get(part, 'none')}. {_REMEDY}"
                )
    return tree


def resuming(path: str | Path) -> Any:
    """Context manager: an error in the body says that the checkpoint does not fit the engine."""
    expected = "a checkpoint of an engine that was built the same way"
    return border(Path(path), expected, _REMEDY, problem="Cannot resume from", error=DataError)


def _form(tree: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Give what must be the same for the state of one problem to fit another: part -> its description."""
    for name, value in tree["module"].items():
        if isinstance(value, Tensor):
            yield f"weight {name!r}", f"{tuple(value.shape)} of {value.dtype}"
    for place, group in enumerate(tree["optimizer"]["param_groups"]):
        settings = ", ".join(sorted(set(group) - {"params", "initial_lr"}))
        yield f"optimizer group {place}", f"of {len(group['params'])} parameters with {settings}"
    for part in ("scheduler", "scaler", "random_stream"):
        yield part, "there" if part in tree else "none"
    yield "loaders", len(tree["sources"])
