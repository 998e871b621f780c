"""Batches of a problem: any iterable of batches, walked epoch after epoch, at a place that can be kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from agwm.errors import DataError
from agwm.rng import RngState

__all__ = ["BatchSource", "to_device"]


def to_device(batch: Any, device: torch.device | str | None) -> Any:
    """Return ``batch`` with its tensors on ``device``; the given batch is not changed.

    A mapping comes back as a plain ``dict``, Hugging Face's ``BatchEncoding`` included.
    """
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


class BatchSource:
    """An iterable of batches that can be iterated again, with its place for resuming.

    Args:
        loader: A ``DataLoader``, a list of batches, or any iterable that starts anew each time.

    Attributes:
        position: Batches taken in the present epoch.
        epoch: Epochs begun, counted from 0.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader: Any = loader
        self.position = 0
        self.epoch = -1
        self._epoch_start: RngState | None = None
        self._order_start: torch.Tensor | None = None

    @property
    def _generator(self) -> torch.Generator | None:
        generator = getattr(self.loader, "generator", None)
        return generator or getattr(getattr(self.loader, "sampler", None), "generator", None)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """Walk one epoch; it begins, random draws included, when its first batch is asked for.

        All draws of an epoch's order then follow each other, as they do when it is resumed.

        Raises:
            DataError: If an epoch has no batch.
        """
        self._epoch_start = RngState.capture()
        self._order_start = self._order_now()
        self.epoch += 1
        self.position = 0
        owners: tuple[Any, ...] = (self.loader, getattr(self.loader, "sampler", None))
        for owner in owners:
            if hasattr(owner, "set_epoch"):
                owner.set_epoch(self.epoch)
        for batch in self.loader:
            self.position += 1
            yield batch
        if self.position == 0:
            raise DataError(
                "No batch to train on: expected a loader that can be iterated again in each epoch, got"
                f" an empty {type(self.loader).__name__} in epoch {self.epoch}. Pass a DataLoader or a"
                " list of batches, not a generator, with at least one batch."
            )

    def _order_now(self) -> torch.Tensor | None:
        return None if self._generator is None else self._generator.get_state()

    def to_tree(self) -> dict[str, Any]:
        """Return the place as nested dicts of numbers and tensors, for a checkpoint."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "epoch_start": None if self._epoch_start is None else self._epoch_start.to_tree(),
            "order_start": self._order_start,
            "order_now": self._order_now(),
        }

    def resume(self, tree: Mapping[str, Any]) -> Iterator[Any]:
        """Return an iterator that goes on where :meth:`to_tree` was taken.

        The epoch is begun again from the random state it was begun with and the batches already
        taken are passed over; the random state at the call is put back. A loader's own generator is
        left as it was when the place was kept.

        Raises:
            DataError: If the loader has fewer batches than were taken.
        """
        if tree["epoch_start"] is None:
            return iter(self)
        present = RngState.capture()
        RngState.from_tree(tree["epoch_start"]).restore()
        if self._generator is not None and tree["order_start"] is not None:
            self._generator.set_state(tree["order_start"])
        self.epoch = tree["epoch"] - 1
        iterator = iter(self)
        for taken in range(tree["position"]):
            if next(iterator, None) is None:
                raise DataError(
                    f"Cannot resume the data: expected a loader of at least {tree['position']} batches,"
                    f" got {taken}. Resume with the loader that the checkpoint was written with."
                )
        if self._generator is not None and tree["order_now"] is not None:
            self._generator.set_state(tree["order_now"])
        present.restore()
        return iterator
