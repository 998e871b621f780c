"""Random state that decides dropout masks: captured before a forward pass, replayed for another."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from agwm.errors import ConfigError

__all__ = [
    "GENERATORS",
    "RngState",
    "generator_state",
    "replay",
    "seed_everything",
    "set_generator_state",
]

# Kinds of generators whose state can be kept.
GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)


def _accelerator(device: torch.device) -> tuple[Any, tuple[torch.device, ...]] | None:
    """Return the module of torch that keeps a device's random state, and how it is told which device.

    Raises:
        ConfigError: If there is none.
    """
    if device.type in ("cpu", "meta"):
        return None
    module = getattr(torch, device.type, None)
    if not (hasattr(module, "get_rng_state") and hasattr(module, "set_rng_state")):
        raise ConfigError(
            f"Random state of device {str(device)!r} cannot be kept: expected a device with get_rng_state,"
            f" such as cuda, xpu or mps, got {device.type!r}. Use another device."
        )
    return module, () if device.type == "mps" else (device,)


@dataclass(frozen=True)
class RngState:
    """State of every generator that a forward pass may draw from.

    Python's and numpy's are included because some models draw from them (layer drop).
    """

    python: tuple
    numpy: dict
    cpu: Tensor
    device: torch.device
    accelerator: Tensor | None

    @classmethod
    def capture(cls, device: torch.device | str = "cpu") -> RngState:
        """Read the present state. Of all accelerators, only the state of ``device`` is read.

        Raises:
            ConfigError: If ``device`` is an accelerator whose random state torch cannot read.
        """
        device = torch.device(device)
        found = _accelerator(device)
        accelerator = None if found is None else found[0].get_rng_state(*found[1])
        return cls(
            random.getstate(),
            np.random.get_state(legacy=False),
            torch.get_rng_state(),
            device,
            accelerator,
        )

    def present(self) -> RngState:
        """Capture the present state, of the same device."""
        return RngState.capture(self.device)

    def restore(self) -> None:
        """Make this the present state."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        found = _accelerator(self.device)
        if found is not None and self.accelerator is not None:
            found[0].set_rng_state(self.accelerator, *found[1])

    def to_tree(self) -> dict:
        """Return the state as nested dicts and lists of numbers and tensors, for a checkpoint."""
        version, words, gauss = self.python
        return {
            "python": [version, torch.tensor(words, dtype=torch.int64, device="cpu"), gauss],
            "numpy": {
                **{k: v for k, v in self.numpy.items() if k != "state"},
                "state": {
                    "key": torch.from_numpy(self.numpy["state"]["key"].astype(np.int64)),
                    "pos": int(self.numpy["state"]["pos"]),
                },
            },
            "cpu": self.cpu,
            "device": str(self.device),
            "accelerator": self.accelerator,
        }

    @classmethod
    def from_tree(cls, tree: dict) -> RngState:
        """Rebuild a state from :meth:`to_tree`."""
        version, words, gauss = tree["python"]
        inner = tree["numpy"]["state"]
        return cls(
            (version, tuple(words.tolist()), gauss),
            {
                **tree["numpy"],
                "state": {"key": inner["key"].numpy().astype(np.uint32), "pos": inner["pos"]},
            },
            tree["cpu"],
            torch.device(tree["device"]),
            tree["accelerator"],
        )


class Replayable(Protocol):
    """Interface of a state that can be kept and made the present one."""

    def present(self) -> Replayable:
        """Capture the present state of the same things."""

    def restore(self) -> None:
        """Make this the present state."""


@contextmanager
def replay(state: Replayable) -> Iterator[None]:
    """Run the body from ``state``: a forward pass in it sees what the captured one saw, such as its masks.

    The state before the call is put back afterwards, so that a replay changes no later draw.
    """
    present = state.present()
    state.restore()
    try:
        yield
    finally:
        present.restore()


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (CPU and accelerators)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def generator_state(generator: Any) -> Any:
    """Return the state of one generator, of torch, numpy or Python, as a tree for a checkpoint."""
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.RandomState):
        return _lists(generator.get_state(legacy=False))
    return _lists(generator.bit_generator.state)


def set_generator_state(generator: Any, state: Any) -> None:
    """Put a generator into a state that :func:`generator_state` returned."""
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.bit_generator.state = state


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
