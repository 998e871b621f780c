"""Table of a model selection: one row a candidate, made of the records of its cells."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agwm.evaluation.scores import all_scores, greater_is_better
from agwm.model_selection.candidates import CONSTANT, Settings
from agwm.model_selection.cells import TrialsRecord
from agwm.model_selection.comparison import compare
from agwm.model_selection.material import Material
from agwm.model_selection.record import CandidateRow, FoldRecord
from agwm.model_selection.words import settings_words

__all__ = ["agreed_settings", "make_rows", "metric_bounds"]

_WITHIN = {"matthews": (-1.0, 1.0), "spearman": (-1.0, 1.0), "pearson": (-1.0, 1.0)}


def metric_bounds(metric: str) -> tuple[float, float]:
    """Return the least and the greatest value of a metric."""
    return _WITHIN.get(metric, (0.0, 1.0 if greater_is_better(metric) else math.inf))


def make_rows(
    material: Material, folds: Sequence[FoldRecord], trials: Mapping[str, Sequence[TrialsRecord]]
) -> list[CandidateRow]:
    """Return the rows of the table, the best first.

    Args:
        material: Task and labels.
        folds: Records of all candidates on all folds, in one order of folds for each.
        trials: Name of a candidate -> records of its trials.
    """
    own: dict[str, list[FoldRecord]] = {}
    for record in folds:
        own.setdefault(record.candidate, []).append(record)
    held_out = float(np.mean([len(record.rows) for record in own[CONSTANT]]))
    metric = material.task.metric
    rows = compare(
        {name: [record.score for record in records] for name, records in own.items()},
        CONSTANT,
        {name: sum(record.passes for record in records) for name, records in own.items()},
        len(material.labels) - held_out,
        held_out,
        greater_is_better(metric),
        failures={name: text for name, records in own.items() if (text := _failure(records))},
        bounds=metric_bounds(metric),
    )
    return [_filled(material, row, own[row.name], trials.get(row.name, ())) for row in rows]


def _failure(records: Sequence[FoldRecord]) -> str | None:
    return next((record.failure for record in records if record.failure is not None), None)


def _filled(
    material: Material, row: CandidateRow, records: Sequence[FoldRecord], trials: Sequence[TrialsRecord]
) -> CandidateRow:
    work: list[Any] = [*records, *trials]
    scores: dict[str, float] = {}
    if row.score is not None:
        outputs = np.concatenate([np.asarray(record.outputs) for record in records])
        positions = np.concatenate([np.asarray(record.rows, int) for record in records])
        scores = all_scores(outputs, material.labels[positions], material.task)
    return dataclasses.replace(
        row,
        seconds=sum(one.seconds for one in work),
        passes=sum(one.passes for one in work),
        settings=settings_words([record.settings for record in records]),
        scores=scores,
    )


def agreed_settings(records: Sequence[FoldRecord], metric: str) -> Settings:
    """Return the settings for all rows: those of the best mean over the trials of all folds.

    Args:
        records: Records of a candidate.
        metric: The metric that chooses.
    """
    scores: dict[str, list[float]] = {}
    for record in records:
        for trial in record.trials:
            if trial.score is not None:
                scores.setdefault(json.dumps(trial.settings, sort_keys=True), []).append(trial.score)
    if not scores:
        return dict(records[0].settings)
    most = max(map(len, scores.values()))
    sign = 1 if greater_is_better(metric) else -1
    # Settings that few folds have tried had an easier race.
    means = {text: sign * np.mean(found) for text, found in scores.items() if len(found) == most}
    return json.loads(max(means, key=lambda text: means[text]))
