"""Bytes of live tensors: followed storage by storage on a CPU, asked of torch's allocator on CUDA."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.models import Machine

__all__ = ["CpuBytes", "CudaBytes", "live_bytes"]


class CpuBytes(TorchDispatchMode):
    """Counts the storages that come to life while it is on, until they die.

    Every operation of torch passes through a dispatch mode, those of the backward pass too. What an
    operation needs inside itself and frees before it returns is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._sizes: dict[int, int] = {}
        self._references: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._follow(leaf)
        return result

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._sizes:
            # the storage dies with the last tensor in it, whatever holds that
            self._references[key] = weakref.ref(storage, lambda _: self._drop(key))
        self.live += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        self.peak = max(self.peak, self.live)

    def _drop(self, key: int) -> None:
        self.live -= self._sizes.pop(key)
        del self._references[key]

    def restart(self) -> None:
        """Let the peak be what is live now."""
        self.peak = self.live


class CudaBytes:
    """The same by torch's allocator, which rounds each block up; what is there before counts not."""

    def __enter__(self) -> CudaBytes:
        torch.cuda.synchronize()
        self._before = torch.cuda.memory_allocated()
        self.restart()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        torch.cuda.synchronize()

    @property
    def live(self) -> int:
        """Bytes of live tensors."""
        return torch.cuda.memory_allocated() - self._before

    @property
    def peak(self) -> int:
        """The most that were live at once since the restart."""
        return torch.cuda.max_memory_allocated() - self._before

    def restart(self) -> None:
        """Let the peak be what is live now."""
        torch.cuda.reset_peak_memory_stats()


def live_bytes(machine: Machine) -> CpuBytes | CudaBytes:
    """Return the counter for a machine, a context manager."""
    return CudaBytes() if machine.device == "cuda" else CpuBytes()
