"""Batches of a problem: any iterable of batches, walked epoch after epoch, at a place that can be kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, Subset

from agwm.batch_rows import mapped
from agwm.errors import DataError, reason
from agwm.rng import GENERATORS, RngState, generator_state, set_generator_state

__all__ = ["BatchSource", "Place", "Split", "to_device"]

_SHOWN = 64  # examples that a message lists
_AHEAD = 4096  # batches whose order is kept; workers draw it a few batches ahead


def to_device(batch: Any, device: torch.device | str | None) -> Any:
    """Return ``batch`` with its tensors on ``device``; the given batch is not changed.

    A mapping comes back as a plain ``dict``, Hugging Face's ``BatchEncoding`` included.
    """
    return mapped(batch, lambda tensor: tensor.to(device))


class Split(Subset):
    """Part of a data set, whose examples are known by their numbers in the whole."""


@dataclass(frozen=True)
class Place:
    """Place of a batch: its epoch, its number and its examples.

    Attributes:
        epoch: Its epoch, counted from 1.
        number: Its number in the epoch, counted from 1.
        examples: Numbers of its examples in the data set; None: the loader does not tell them.
    """

    epoch: int
    number: int
    examples: tuple[Any, ...] | None

    def __str__(self) -> str:
        if self.examples is None:
            return f"batch {self.number} of epoch {self.epoch}"
        more = ", ..." if len(self.examples) > _SHOWN else ""
        return "examples " + ", ".join(map(str, self.examples[:_SHOWN])) + more


class _Recorder:
    """A sampler that notes what it yields; it draws nothing itself, and yields the very same objects."""

    def __init__(self, sampler: Iterable[Any], drawn: deque[Any]) -> None:
        self.sampler, self.drawn = sampler, drawn

    def __iter__(self) -> Iterator[Any]:
        for indices in self.sampler:
            self.drawn.append(indices)
            yield indices

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]  # as long as the loader asks for it


def _tells_indices(loader: Any) -> bool:
    """Return whether a loader is one of torch's own, whose batches come in the order of its sampler."""
    kind = type(loader)
    return (
        isinstance(loader, DataLoader)
        and kind.__iter__ is DataLoader.__iter__
        and kind._get_iterator is DataLoader._get_iterator
        and not isinstance(loader.dataset, IterableDataset)
        and getattr(loader, "in_order", True)
    )


@contextmanager
def _recording(loader: DataLoader, drawn: deque[Any]) -> Iterator[None]:
    """Let the iterators that are made in the body note their indices; the loader is as it was after it."""
    name = "sampler" if loader.batch_sampler is None else "batch_sampler"
    own = loader.__dict__[name]
    loader.__dict__[name] = _Recorder(own, drawn)  # a loader forbids to set it as an attribute
    try:
        yield
    finally:
        loader.__dict__[name] = own


def _parts(loader: Any, with_data: bool) -> list[Any]:
    """Return the loader, its samplers, on request its data sets, and those that these hold, each once."""
    names = ("sampler", "loader", "dataset") if with_data else ("sampler", "loader")
    kinds = (Sampler, DataLoader, Dataset) if with_data else (Sampler, DataLoader)
    found: list[Any] = []
    queue = [loader]
    while queue:
        part = queue.pop(0)
        if any(part is other for other in found):
            continue
        found.append(part)
        for name, value in getattr(part, "__dict__", {}).items():
            values = value if isinstance(value, list | tuple) and len(value) < _SHOWN else [value]
            queue += [v for v in values if name.endswith(names) or isinstance(v, kinds)]
    return found


def _generators(loader: Any) -> list[Any]:
    """Return the generators that a loader and its parts draw from, each once."""
    found: list[Any] = []
    for part in _parts(loader, with_data=True):
        for value in getattr(part, "__dict__", {}).values():
            if isinstance(value, GENERATORS) and not any(value is other for other in found):
                found.append(value)
    return found


class BatchSource:
    """An iterable of batches that can be iterated again, with its place for resuming.

    Args:
        loader: A ``DataLoader``, a list of batches, or any iterable that starts anew each time.

    Attributes:
        position: Batches taken in the present epoch.
        epoch: Epochs begun, counted from 0.
        share: What the mean over the examples of the batch that was taken last is multiplied by, where
            several processes share each batch; None: the loader does not tell it.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader: Any = loader
        self.position = 0
        self.epoch = -1
        self.share: float | None = None
        self._examples: tuple[Any, ...] | None = None
        self._drawn: deque[Any] = deque(maxlen=_AHEAD)
        # How the present epoch was begun; all epochs, where the workers live on from one to the next.
        self._starts: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self.loader)

    @property
    def place(self) -> Place:
        """Return the place of the batch that was taken last."""
        return Place(self.epoch + 1, self.position, self._examples)

    def __iter__(self) -> Iterator[Any]:
        """Walk one epoch; it begins, random draws included, when its first batch is asked for.

        All draws of an epoch's order then follow each other, as they do when it is resumed.

        Raises:
            DataError: If an epoch has no batch.
        """
        self._note_start()
        self.epoch += 1
        self.position = 0
        for owner in _parts(self.loader, with_data=False):
            if hasattr(owner, "set_epoch"):
                owner.set_epoch(self.epoch)
        self._drawn.clear()
        tells = _tells_indices(self.loader)
        recording: AbstractContextManager = nullcontext()
        if tells:
            recording = _recording(self.loader, self._drawn)
        with recording:
            batches = iter(self.loader)
        for batch in self._read(batches):
            self.position += 1
            drawn = self._drawn.popleft() if self._drawn else None
            self._examples = None if drawn is None else self._numbers(drawn)
            self.share = getattr(drawn, "share", None)
            yield batch
        if self.position == 0:
            raise DataError(
                "No batch to train on: expected a loader that can be iterated again in each epoch, got"
                f" an empty {type(self.loader).__name__} in epoch {self.epoch}. Pass a DataLoader or a"
                " list of batches, not a generator, with at least one batch."
            )

    def _read(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Give the batches of an epoch.

        Raises:
            DataError: If a row cannot be read. Other errors are the data set's own.
        """
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (OSError, LookupError) as error:
                raise DataError(
                    f"Cannot read batch {self.position + 1} of epoch {self.epoch + 1}: expected rows of the"
                    f" data set, got {reason(error)}. Look at its rows and files."
                ) from error
            yield batch

    def _numbers(self, drawn: Any) -> tuple[Any, ...]:
        numbers = drawn if isinstance(drawn, Iterable) else (drawn,)
        dataset = self.loader.dataset
        return tuple(dataset.indices[n] if isinstance(dataset, Split) else n for n in numbers)

    def _note_start(self) -> None:
        if not (getattr(self.loader, "persistent_workers", False) and self.loader.num_workers > 0):
            self._starts = []
        self._starts.append(
            {
                "random": RngState.capture(),
                "generators": self.generator_states(),
                "has_workers": getattr(self.loader, "_iterator", None) is not None,
            }
        )

    def generator_states(self) -> list[Any]:
        """Return the states of the generators that the loader, its samplers and its data draw from."""
        return [generator_state(generator) for generator in _generators(self.loader)]

    def _set_generators(self, states: list[Any]) -> None:
        for generator, state in zip(_generators(self.loader), states, strict=True):
            set_generator_state(generator, state)

    def to_tree(self) -> dict[str, Any]:
        """Return the place as nested dicts of numbers and tensors, for a checkpoint."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "starts": [{**start, "random": start["random"].to_tree()} for start in self._starts],
            "generators": self.generator_states(),
        }

    def resume(self, tree: Mapping[str, Any]) -> Iterator[Any]:
        """Return an iterator that goes on where :meth:`to_tree` was taken.

        The epoch is begun again from the random state it was begun with and the batches already
        taken are passed over; the random state at the call is put back. The generators of the loader,
        its samplers and its data set are left as they were when the place was kept. Workers that live on
        from epoch to epoch (``persistent_workers``) have random states that nobody else sees: they are
        started anew, and the earlier epochs are passed over too. A ``state_dict`` of the loader's own is
        not used.

        Raises:
            DataError: If the loader has fewer batches than were taken, or other generators.
        """
        if len(_generators(self.loader)) != len(tree["generators"]):
            raise DataError(
                f"Cannot resume the data: expected a loader with {len(tree['generators'])} generators, got"
                f" {len(_generators(self.loader))}. Resume with the loader that the checkpoint was written"
                " with."
            )
        starts = list(tree["starts"])
        if not starts:
            self._set_generators(tree["generators"])
            return iter(self)
        present = RngState.capture()
        self._starts = []
        self._restore_workers(starts[0]["has_workers"])
        for epoch, start in enumerate(starts, tree["epoch"] + 1 - len(starts)):
            RngState.from_tree(start["random"]).restore()
            self._set_generators(start["generators"])
            self.epoch = epoch - 1
            iterator = iter(self)
            if epoch < tree["epoch"]:
                deque(iterator, maxlen=0)
        for taken in range(tree["position"]):
            if next(iterator, None) is None:
                raise DataError(
                    f"Cannot resume the data: expected a loader of at least {tree['position']} batches,"
                    f" got {taken}. Resume with the loader that the checkpoint was written with."
                )
        self._set_generators(tree["generators"])
        present.restore()
        return iterator

    def _restore_workers(self, are_there: bool) -> None:
        """Let a loader have persistent workers at the first epoch, or none, as it had then.

        A loader that starts them draws their seed; one that has them already does not.
        """
        if not isinstance(self.loader, DataLoader):
            return
        if not are_there:
            self.loader._iterator = None
        elif self.loader._iterator is None:
            self.loader._iterator = self.loader._get_iterator()
