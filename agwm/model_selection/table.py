"""Table of a model selection: one row a candidate, made of the records of its cells."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agwm.evaluation.intervals import score_interval
from agwm.evaluation.scores import all_scores, greater_is_better, score
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
    low, high = row.low, row.high
    if row.score is not None:
        scores = all_scores(*_held_out(material, records), material.task)
        if row.name != CONSTANT:
            low, high = _widened(material, row, records)
    return dataclasses.replace(
        row,
        low=low,
        high=high,
        seconds=sum(one.seconds for one in work),
        passes=sum(one.passes for one in work),
        settings=settings_words([record.settings for record in records]),
        scores=scores,
    )


def _held_out(material: Material, records: Sequence[FoldRecord]) -> tuple[np.ndarray, np.ndarray]:
    """Return the outputs for the held-out rows of some folds, and the right labels."""
    outputs = np.concatenate([np.asarray(record.outputs) for record in records])
    rows = np.concatenate([np.asarray(record.rows, int) for record in records])
    return outputs, material.labels[rows]


def _widened(
    material: Material, row: CandidateRow, records: Sequence[FoldRecord]
) -> tuple[float | None, float | None]:
    """Return the interval of a score, never narrower than that of so many rows.

    A handful of folds may score alike by chance, and then says that the score is known to the third digit.
    """
    once = [record for record in records if record.repeat == records[0].repeat]
    outputs, labels = _held_out(material, once)
    metric, task = material.task.metric, material.task
    low, high = score_interval(metric, outputs, labels, task=task)
    if row.score is None or math.isnan(low):
        return row.low, row.high
    pooled, bounds = score(metric, outputs, labels, task), metric_bounds(metric)
    low, high = row.score + min(0.0, low - pooled), row.score + max(0.0, high - pooled)
    low, high = max(low, bounds[0]), min(high, bounds[1])
    return (
        low if row.low is None else min(low, row.low),
        high if row.high is None else max(high, row.high),
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
