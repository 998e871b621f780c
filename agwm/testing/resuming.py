"""The rule that a run of a method is taken up where it was stopped."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from agwm.checkpoints import Checkpoints, Stage
from agwm.errors import MethodError
from agwm.methods import Method, Outcome
from agwm.resumable import Resumable
from agwm.testing.jobs import job_of, side_of
from agwm.testing.tiny_models import pretrained

__all__ = ["check_resuming"]

SEED = 3


class _Stopped(BaseException):
    """Stands for what ends a process between two steps."""


class _Stopping(Checkpoints):
    """Checkpoints of a run that stops after so many steps, in whatever training; 0: it does not."""

    left = 0
    steps = 0

    def stage(self, name: str) -> Stage:
        stage = super().stage(name)
        return _StoppingStage(self, stage.number, name)


class _StoppingStage(Stage):
    run: _Stopping

    def after_step(self, state: Resumable) -> None:
        super().after_step(state)
        self.run.steps += 1
        if self.run.steps == self.run.left:
            raise _Stopped


def _run(make: Callable[[], Method], family: str, folder: Path, left: int) -> tuple[Outcome, int]:
    checkpoints = _Stopping(folder, {}, step=1)
    checkpoints.left = left
    with checkpoints:
        job = job_of(pretrained(family), SEED, epochs=2, side=side_of(family))
        outcome = make().run(dataclasses.replace(job, checkpoints=checkpoints))
        return outcome, checkpoints.steps


def check_resuming(make: Callable[[], Method], family: str, parts: tuple[float, ...] = (0.3, 0.7)) -> None:
    """Raise unless a run that is stopped and taken up ends with the bits of one that was not.

    Args:
        make: Returns a new object of the method.
        family: Key of ``agwm.testing.FAMILIES``.
        parts: Parts of a run's steps after which it is stopped.

    Raises:
        MethodError: If it ends otherwise, or makes more steps than are left.
    """
    with tempfile.TemporaryDirectory() as name:
        whole, num_steps = _run(make, family, Path(name) / "whole", 0)
        for part in parts if num_steps > 1 else ():
            stop, folder = max(1, min(num_steps - 1, round(part * num_steps))), Path(name) / str(part)
            try:
                _run(make, family, folder, stop)
            except _Stopped:
                pass
            again, left = _run(make, family, folder, 0)
            states = whole.model.state_dict(), again.model.state_dict()
            is_same = all(torch.equal(states[0][key], states[1][key]) for key in states[0])
            if not is_same or whole.history != again.history or left != num_steps - stop:
                got = f"{'the same' if is_same else 'another'} model after {left} steps"
                raise MethodError(
                    f"Method {make().name!r} breaks a rule on {family}: expected a run that was stopped"
                    f" after step {stop} of {num_steps} to go on to the same model and history, got {got}."
                    " Keep what its steps change in to_tree() and load_tree()."
                )
