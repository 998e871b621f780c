"""Cells of a model selection: the pieces of work that are done, and kept, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agwm.evaluation.scores import greater_is_better
from agwm.model_selection.candidates import Settings
from agwm.model_selection.record import TrialRecord

__all__ = ["FoldCell", "Pair", "TrialCell", "TrialsRecord", "best_settings"]


@dataclass(frozen=True)
class Pair:
    """Two folds of a repetition. Models that saw neither choose the settings of each on the other.

    Attributes:
        repeat: Number of the repetition.
        folds: Numbers of the two folds.
    """

    repeat: int
    folds: tuple[int, int]


@dataclass(frozen=True, eq=False)
class TrialCell:
    """Try the settings of a candidate on a pair of folds.

    Attributes:
        candidate: Name of the candidate.
        pair: The folds.
        train: Positions of the rows of all other folds.
        held_out: Positions of the rows of the first and of the second fold.
        settings: The settings to try.
        seed: Seed of the training.
        trial: Number of a training in it, from 1, that is kept by itself; None: this is the whole cell.
    """

    candidate: str
    pair: Pair
    train: np.ndarray
    held_out: tuple[np.ndarray, np.ndarray]
    settings: list[Settings]
    seed: int
    trial: int | None = None

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        first, second = self.pair.folds
        name = f"{self.candidate}-{self.pair.repeat}-trials-{first}-{second}"
        return name if self.trial is None else f"{name}-trial-{self.trial}"


@dataclass(frozen=True)
class TrialsRecord:
    """Outcome of a :class:`TrialCell`.

    Attributes:
        trials: For the first and for the second fold of the pair, the trials scored on that fold's rows.
        seconds: Wall time.
        passes: Forward and backward passes.
    """

    trials: tuple[list[TrialRecord], list[TrialRecord]]
    seconds: float
    passes: float


@dataclass(frozen=True, eq=False)
class FoldCell:
    """Train a candidate on all rows but a fold's, and let it answer for these.

    Attributes:
        candidate: Name of the candidate.
        repeat: Number of the repetition.
        fold: Number of the fold.
        train: Positions of the training rows.
        test: Positions of the held-out rows.
        settings: The settings that were chosen.
        trials: The trials that chose them.
        seed: Seed of the training.
    """

    candidate: str
    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray
    settings: Settings
    trials: list[TrialRecord]
    seed: int

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        return f"{self.candidate}-{self.repeat}-fold-{self.fold}"


def best_settings(trials: Sequence[TrialRecord], metric: str) -> Settings | None:
    """Return the settings of the best trial; None if all failed, or there is none."""
    sign = 1.0 if greater_is_better(metric) else -1.0
    scored = [(sign * trial.score, trial.settings) for trial in trials if trial.score is not None]
    return max(scored, key=lambda item: item[0])[1] if scored else None
