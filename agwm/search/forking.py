"""Fork a generator: its state decides a new stream, and nothing is drawn from it."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch

from agwm.rng import RngState

__all__ = ["forked", "forked_state"]


def forked(generator: Any) -> Any:
    """Return a generator with a stream of its own, which the state of the given one decides.

    A copy of the given one draws a number, and numpy's ``SeedSequence`` makes the seed of a child of it: no
    seed that a user is likely to take. The given one is left as it is.

    Args:
        generator: One of :data:`agwm.rng.GENERATORS`.

    Reference:
        NumPy manual, "Parallel random number generation": spawning of a ``SeedSequence``.
    """
    drawn = _drawn(_copied(generator))
    seed = int(np.random.SeedSequence(drawn, spawn_key=(0,)).generate_state(1, np.uint64)[0])
    if isinstance(generator, torch.Generator):
        return torch.Generator(device=generator.device).manual_seed(seed)
    if isinstance(generator, random.Random):
        own = copy.deepcopy(generator)
        own.seed(seed)
        return own
    if isinstance(generator, np.random.RandomState):
        return np.random.RandomState(np.random.MT19937(seed))
    return np.random.Generator(type(generator.bit_generator)(seed))


def forked_state(state: RngState) -> RngState:
    """Return the state of a stream of its own for each of the global generators; see :func:`forked`."""
    python, numpy = random.Random(), np.random.RandomState()
    cpu, accelerator = torch.Generator(device="cpu"), None
    python.setstate(state.python)
    numpy.set_state(state.numpy)
    cpu.set_state(state.cpu)
    if state.accelerator is not None:
        accelerator = torch.Generator(device=state.device)
        accelerator.set_state(state.accelerator)
    return RngState(
        forked(python).getstate(),
        forked(numpy).get_state(legacy=False),
        forked(cpu).get_state(),
        state.device,
        None if accelerator is None else forked(accelerator).get_state(),
    )


def _copied(generator: Any) -> Any:
    if not isinstance(generator, torch.Generator):
        return copy.deepcopy(generator)
    own = torch.Generator(device=generator.device)
    own.set_state(generator.get_state())
    return own


def _drawn(generator: Any) -> int:
    if isinstance(generator, torch.Generator):
        return int(torch.randint(2**62, (), generator=generator, device=generator.device))
    if isinstance(generator, random.Random):
        return generator.getrandbits(62)
    if isinstance(generator, np.random.RandomState):
        return int(generator.randint(2**62, dtype=np.int64))
    return int(generator.integers(2**62))
