"""Nested state with sharded tensors, as the file of one process holds it: of each the own part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from agwm.shards import is_sharded, layout, own_part

__all__ = ["parts_of", "with_shards"]

_KEYS = {"part", "layout", "shape", "stride"}


def parts_of(tree: Any) -> Any:
    """Return nested state with a dict for each sharded tensor: this process's part, and what it is of."""

    def part(value: Any) -> Any:
        if not is_sharded(value):
            return value
        shape, stride = list(value.shape), list(value.stride())
        return {"part": own_part(value), "layout": layout(value), "shape": shape, "stride": stride}

    return tree_map(part, tree)


def with_shards(tree: Any, present: Callable[[], Any]) -> Any:
    """Return the state that :func:`parts_of` was given, in new tensors. Nothing is exchanged.

    Args:
        tree: What it returned.
        present: Called if there are sharded tensors: returns state of the present run, with a tensor of
            each layout.
    """
    layouts: dict[str, Any] = {}

    def shard(value: Any) -> Any:
        if not _is_part(value):
            return value
        from torch.distributed.tensor import DTensor  # only here: it takes a second to import

        if not layouts:
            layouts.update((layout(own), own) for own in tree_leaves(present()) if is_sharded(own))
        like = layouts[value["layout"]]
        shape, stride = torch.Size(value["shape"]), tuple(value["stride"])
        return DTensor.from_local(
            value["part"], like.device_mesh, like.placements, run_check=False, shape=shape, stride=stride
        )

    return tree_map(shard, tree, is_leaf=_is_part)


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == _KEYS
