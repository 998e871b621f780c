"""The checkpoints of one call of ``finetune``: by what it is known, and where they are."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from agwm.checkpoints import Checkpoints
from agwm.errors import ConfigError, DataError, shown
from agwm.nested import flat_settings
from agwm.processes import gathered, num_processes, process_number
from agwm.recipe.config import FinetuneConfig, plain_dict
from agwm.rng import RngState
from agwm.shards import is_sharded, layout, own_part, sharding

__all__ = ["checkpoints_of_run", "digest_of_rows", "digest_of_tensors", "model_facts", "run_facts"]

Facts = dict[str, Any]
_PART = "process-{number}-of-{size}"  # folder of one of several processes


@contextmanager
def checkpoints_of_run(
    given: str | Path | Checkpoints | None,
    facts: Callable[[], Facts],
    step: int | None,
    resume: bool,
    *,
    keep: bool = False,
) -> Iterator[Checkpoints | None]:
    """Context manager: hold the checkpoints in a folder, and remove them after a body without an error.

    Args:
        given: The folder; None: there are none. Checkpoints are the caller's own, and stay as they are.
        facts: Returns what decides the outcome of the run.
        step: Steps between checkpoints; None: as many as keep the time of writing small.
        resume: Go on from what is in the folder.
        keep: Leave them there: more of the run follows.

    Raises:
        ConfigError: If the folder holds checkpoints of another run, or of another number of processes.
    """
    if given is None or isinstance(given, Checkpoints):
        yield given
        return
    place, size = Path(given), num_processes()
    _refuse_other_numbers(place, size, resume)
    own = place if size == 1 else place / _PART.format(number=process_number() + 1, size=size)
    with Checkpoints(own, facts(), step=step, resume=resume, tell=_tell) as found:
        yield found
        if not keep:
            found.discard()
    with suppress(OSError):
        place.rmdir()  # by the last of several processes


def _refuse_other_numbers(place: Path, size: int, resume: bool) -> None:
    """Raise for checkpoints of other numbers of processes; remove them where nothing is to be resumed.

    Raises:
        ConfigError: If there are some.
    """
    parts = _PART.format(number="*", size="*")
    for path in (*place.glob("*.safetensors"), *place.glob(f"{parts}/*.safetensors")):
        got = "1" if path.parent == place else path.parent.name.rpartition("-")[2]
        if got == str(size):
            continue
        if resume:
            raise ConfigError(
                f"Checkpoints in {shown(place)} are of another run: expected {size} processes, got {got}."
                " Pass another checkpoint_dir, or resume=False to start anew."
            )
        path.unlink(missing_ok=True)


def run_facts(
    model: nn.Module,
    config: FinetuneConfig,
    datasets: tuple[Sequence[Any], Sequence[Any] | None],
    problems: tuple[type, type],
) -> Facts:
    """Return what decides the outcome of a run: settings, digests of data and model, device.

    Args:
        model: The model, as it was given.
        config: All settings.
        datasets: Training examples, and the outer ones or None.
        problems: Classes of the inner and of the outer problem.
    """
    return {
        **flat_settings(plain_dict(config)),
        "train_dataset": digest_of_rows(datasets[0]),
        "outer_dataset": None if datasets[1] is None else digest_of_rows(datasets[1]),
        **model_facts(model),
        **{
            name: f"{kind.__module__}.{kind.__qualname__}"
            for name, kind in zip(("inner", "outer"), problems, strict=True)
        },
    }


def model_facts(model: nn.Module) -> Facts:
    """Return what a model decides of a run: how its weights are spread, all its numbers, its device.

    All processes that share it call this.
    """
    return {
        "sharding": sharding(model),
        "model": digest_of_tensors([*model.named_parameters(), *model.named_buffers()]),
        "device": str(next(model.parameters()).device),
    }


def digest_of_tensors(named: Iterable[tuple[str, Tensor]]) -> str:
    """Return a digest of names, kinds, shapes and numbers of some tensors.

    Of sharded ones each process reads its part, and the digest is of those of all: all processes call this.
    """
    digest = hashlib.sha256()
    is_whole = True
    for name, tensor in named:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(_bytes(own_part(tensor)))
        if is_sharded(tensor):
            digest.update(layout(tensor).encode())
            is_whole = False
    if not is_whole:
        digest = hashlib.sha256("\n".join(gathered(digest.hexdigest())).encode())
    return digest.hexdigest()[:16]


def digest_of_rows(rows: Sequence[Any]) -> str:
    """Return a digest of all rows. What they draw while they are read does not count."""
    digest = hashlib.sha256()
    state = RngState.capture()
    try:
        for number in range(len(rows)):
            _add(digest, rows[number])
    finally:
        state.restore()
    return digest.hexdigest()[:16]


def _add(digest: Any, value: Any) -> None:
    """Add a value of a row to a digest.

    Raises:
        DataError: If it is of a kind that has no bytes of its own.
    """
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            digest.update(f"{key}:".encode())
            _add(digest, value[key])
    elif isinstance(value, Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode() + _bytes(value))
    elif isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
    elif isinstance(value, list | tuple):
        digest.update(f"[{len(value)}".encode())
        for item in value:
            _add(digest, item)
    elif value is None or isinstance(value, str | bytes | bool | int | float | np.generic):
        digest.update(f"{type(value).__name__} {value!r};".encode())
    else:
        raise DataError(
            "Examples have no fingerprint: expected tensors, arrays, numbers and texts, got"
            f" {type(value).__name__}. Leave out checkpoint_dir, or encode the examples first."
        )


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _tell(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
