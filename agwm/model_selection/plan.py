"""Plan of a model selection: its folds, pairs of folds and cells, and the passes that they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PretrainedConfig

from agwm.model_selection.budget import BUDGETS, longer_settings, trial_settings
from agwm.model_selection.candidates import (
    CONSTANT,
    Settings,
    base_epochs,
    base_rate,
    made_with,
)
from agwm.model_selection.cells import FoldCell, Pair, TrialCell, TrialsRecord, best_settings
from agwm.model_selection.folds import Fold
from agwm.model_selection.options import FitOptions
from agwm.model_selection.record import TrialRecord

__all__ = ["Plan", "make_pairs"]


def make_pairs(num_folds: int) -> list[tuple[int, int]]:
    """Return pairs of folds so that each fold is in one, and of an odd number the first in two.

    Example:
        >>> make_pairs(5)
        [(0, 1), (2, 3), (4, 0)]
    """
    return [(first, (first + 1) % num_folds) for first in range(0, num_folds, 2)]


@dataclass(frozen=True)
class Plan:
    """The work of a model selection.

    Attributes:
        options: Options of the selection.
        candidates: Names of the candidates.
        folds: All folds, repeat by repeat.
        config: Config of the model.
        is_regression: True if labels are scores.
    """

    options: FitOptions
    candidates: Sequence[str]
    folds: Sequence[Fold]
    config: PretrainedConfig
    is_regression: bool

    @property
    def num_rows(self) -> int:
        """Number of all rows."""
        return len(self.folds[0].train) + len(self.folds[0].test)

    def repeats(self) -> list[list[Fold]]:
        """Return the folds of each repeat."""
        numbers = sorted({fold.repeat for fold in self.folds})
        return [[fold for fold in self.folds if fold.repeat == number] for number in numbers]

    def seed(self, repeat: int) -> int:
        """Return the seed of the training in a repeat."""
        return self.options.seed + repeat

    def settings(self, name: str, num_examples: int) -> list[Settings]:
        """Return the settings that are tried for a candidate: none where there is nothing to choose."""
        budget = BUDGETS[self.options.budget]
        base = base_rate(name, self.config), base_epochs(name, num_examples)
        return trial_settings(name, budget, self.options.learning_rate, self.options.epochs, base)

    def longer(self, best: Settings) -> list[Settings]:
        """Return the settings that are tried after those of the learning rates: with more epochs."""
        return longer_settings(best, BUDGETS[self.options.budget], self.options.epochs)

    def has_trials(self, name: str) -> bool:
        """Return whether a candidate has settings to choose between."""
        settings = self.settings(name, self.num_rows)
        return len(settings) > 1 or bool(settings and self.options.epochs is None)

    def trial_cells(self) -> list[TrialCell]:
        """Return the cells that choose settings."""
        cells = []
        for folds in self.repeats():
            for pair in make_pairs(len(folds)):
                held_out = (folds[pair[0]].test, folds[pair[1]].test)
                train = np.setdiff1d(folds[pair[0]].train, held_out[1])
                seed = self.seed(folds[0].repeat)
                cells += [
                    TrialCell(
                        name,
                        Pair(folds[0].repeat, pair),
                        train,
                        held_out,
                        self.settings(name, len(folds[0].train)),
                        seed,
                    )
                    for name in self.candidates
                    if self.has_trials(name)
                ]
        return cells

    def fold_cells(self, found: Mapping[str, TrialsRecord], metric: str) -> list[FoldCell]:
        """Return the cells that train with the chosen settings.

        Args:
            found: Name of a trial cell -> its record.
            metric: The metric that chooses.
        """
        trials: dict[tuple[str, int, int], list[TrialRecord]] = {}
        for cell in self.trial_cells():
            first, second = cell.pair.folds
            of_first, of_second = found[cell.name].trials
            # What is scored on the second fold chooses for the first, and the other way round. The first
            # fold of an odd number is in two pairs: the earlier one chooses for it.
            trials.setdefault((cell.candidate, cell.pair.repeat, first), of_second)
            trials.setdefault((cell.candidate, cell.pair.repeat, second), of_first)
        cells = []
        for fold in self.folds:
            for name in self.candidates:
                own = trials.get((name, fold.repeat, fold.fold), [])
                settings = best_settings(own, metric) if own else None
                if settings is None:  # all trials failed, or there are none
                    settings = next(iter(self.settings(name, len(fold.train))), {})
                cells.append(
                    FoldCell(
                        name,
                        fold.repeat,
                        fold.fold,
                        fold.train,
                        fold.test,
                        settings,
                        own,
                        self.seed(fold.repeat),
                    )
                )
        return cells

    def passes(self, cell: TrialCell | FoldCell) -> float:
        """Return the passes that a cell takes; of trials with more epochs, about."""
        if isinstance(cell, FoldCell):
            return self.passes_of(cell.candidate, cell.settings, len(cell.train))
        every = [*cell.settings, *self.longer(cell.settings[0])]  # evaluation on the way is not counted
        return sum(self.passes_of(cell.candidate, settings, len(cell.train)) for settings in every)

    def passes_of(self, name: str, settings: Settings, num_examples: int) -> float:
        """Return the passes of one training; of the constant answer none."""
        if name == CONSTANT:
            return 0.0
        own = self.options
        method, training, recipe = made_with(name, settings, own.seed, own.gradient_accumulation)
        return method.passes(training, recipe, num_examples, self.is_regression)
