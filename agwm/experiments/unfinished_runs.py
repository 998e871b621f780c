"""Checkpoints of runs that have no record yet: ``<output_dir>/checkpoints/<name of the record>/``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agwm.checkpoints import Checkpoints
from agwm.experiments.claims import claim_of, claimed
from agwm.experiments.config import RunConfig
from agwm.experiments.records import record_path, run_settings
from agwm.models.pretrained import pick_device
from agwm.nested import flat_settings

__all__ = ["UNFINISHED", "check_unfinished", "checkpoints_of", "forget", "forget_leftovers"]

UNFINISHED = "checkpoints"  # folder in an output folder


def checkpoints_of(
    config: RunConfig,
    method: str,
    seed: int,
    data: str,
    label: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Checkpoints:
    """Return the checkpoints of a run.

    Args:
        config: The experiment.
        method: One of ``METHODS``.
        seed: The run's seed.
        data: Fingerprint of the examples.
        label: Name in tables of the method with these settings; None: the method's name.
        tell: Called with what the user should know, a line each.
    """
    facts = {
        **flat_settings(run_settings(config, method, seed)),
        "examples": data,
        "device": str(pick_device(config.device)),
    }
    return Checkpoints(
        _folder(record_path(config.output_dir, config, method, seed, label)),
        facts,
        step=config.checkpoint_step,
        resume=config.resume,
        tell=tell,
        remedy="Pass another --output-dir, or --no-resume to start this run anew.",
    )


def check_unfinished(
    config: RunConfig, method: str, seed: int, data: str, label: str | None = None
) -> None:
    """Raise if a run has checkpoints that other settings, examples or versions made.

    The arguments are those of :func:`checkpoints_of`.

    Raises:
        ConfigError: If it has; names the first key that differs.
    """
    if _folder(record_path(config.output_dir, config, method, seed, label)).is_dir():
        checkpoints_of(config, method, seed, data, label).refuse_others()


def forget(record: Path) -> None:
    """Remove the checkpoints of a run whose record is written.

    Args:
        record: The record's file.
    """
    shutil.rmtree(_folder(record), ignore_errors=True)
    with suppress(OSError):
        _folder(record).parent.rmdir()  # if it was the last


def forget_leftovers(record: Path) -> None:
    """Remove what a process left that was killed between the record of its run and its own end.

    Nothing is touched while a process has the run: it may make it again.

    Args:
        record: The record's file, which is there.
    """
    claim = claim_of(record)
    if claim.exists() or _folder(record).exists():
        with claimed(claim) as is_mine:
            if is_mine:
                forget(record)


def _folder(record: Path) -> Path:
    return record.parent.parent / UNFINISHED / record.stem
