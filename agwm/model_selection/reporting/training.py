"""Sections on the training: learning curves, and the settings that were tried."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

from agwm.model_selection.record import FitRecord, FoldRecord
from agwm.model_selection.reporting.blocks import Block, Folded, Picture, Section, Table, Text
from agwm.model_selection.reporting.training_pictures import curve_picture
from agwm.model_selection.reporting.words import NONE, brief, cut, number
from agwm.model_selection.words import settings_words

__all__ = ["curve_section", "trial_section"]

_OPEN = 4  # pictures that are not folded


def curve_section(record: FitRecord) -> Section:
    """Return the learning curves of all candidates that have some, the chosen one first."""
    names = sorted((row.name for row in record.table), key=lambda name: name != record.chosen)
    pictures: list[Picture] = []
    for name in names:
        folds = [fold for fold in record.folds if fold.candidate == name and fold.history]
        if folds:
            pictures.append(curve_picture(name, folds, f"curve-{len(pictures)}"))
    if not pictures:
        return Section("curves", "Learning curves", [Text("No candidate was trained step by step.")])
    text = "A thin line is a fold; the settings are those chosen inside of its training part."
    blocks: list[Block] = [Text(text), *pictures[:_OPEN]]
    if rest := pictures[_OPEN:]:
        blocks.append(Folded(f"{len(rest)} more candidate{'s' * (len(rest) > 1)}", rest))
    return Section("curves", "Learning curves", blocks)


def trial_section(record: FitRecord) -> Section:
    """Return all settings that were tried: a summary, and below it every trial."""
    lines, single = [], []
    for name in [row.name for row in record.table]:
        folds = [fold for fold in record.folds if fold.candidate == name]
        lines += _summary(name, folds)
        single += [line for fold in folds for line in _trials(fold)]
    if not lines:
        return Section("trials", "Trials", [Text("No candidate had settings to choose.")])
    head = ["candidate", "settings", "tried in", "chosen in", "mean inner score", "failed"]
    summary = Table("Settings tried inside of the training parts", head, lines, frozenset({2, 3, 4, 5}))
    head = ["candidate", "repetition", "fold", "settings", "inner score", "chosen", "failure"]
    every = Table("Every trial", head, single, frozenset({1, 2, 4}))
    return Section("trials", "Trials", [summary, Folded(f"Every trial ({len(single)})", [every])])


def _key(settings: object) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _summary(name: str, folds: Sequence[FoldRecord]) -> list[list[str]]:
    groups: dict[str, list] = {}
    for fold in folds:
        for trial in fold.trials:
            groups.setdefault(_key(trial.settings), []).append(trial)
    chosen = [_key(fold.settings) for fold in folds if fold.trials]
    lines = []
    for key, trials in groups.items():
        scores = [trial.score for trial in trials if trial.score is not None]
        failed = len(trials) - len(scores)
        mean = number(statistics.fmean(scores)) if scores else NONE
        words = settings_words([trials[0].settings]) or NONE
        counts = f"{len(trials)} folds" if len(trials) != 1 else "1 fold"
        lines.append([brief(name, 80), words, counts, str(chosen.count(key)), mean, str(failed)])
    return lines


def _trials(fold: FoldRecord) -> list[list[str]]:
    return [
        [
            brief(fold.candidate, 80),
            str(fold.repeat + 1),
            str(fold.fold + 1),
            settings_words([trial.settings]) or NONE,
            number(trial.score),
            "yes" if _key(trial.settings) == _key(fold.settings) else "",
            cut(trial.failure or "", 300),
        ]
        for trial in fold.trials
    ]
