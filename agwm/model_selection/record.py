"""Record of a model selection: what was tried on which fold, what came out, and what was chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["CandidateRow", "FitRecord", "FoldRecord", "TestRecord", "TrialRecord", "Verdict"]

Verdict = Literal["chosen", "tied", "worse", "not learned", "failed", "reference"]


@dataclass(frozen=True)
class TrialRecord:
    """Settings that were tried inside of a training part.

    Attributes:
        settings: The settings, such as ``{"learning_rate": 1e-4, "epochs": 4}``.
        score: Score on the inner hold-out; None: the trial failed.
        failure: Reason of the failure in one line; None: it did not fail.
    """

    settings: dict[str, Any]
    score: float | None
    failure: str | None = None


@dataclass(frozen=True)
class FoldRecord:
    """One candidate on one fold.

    Attributes:
        candidate: Name of the candidate.
        repeat: Number of the repetition, from 0. Each has other folds.
        fold: Number of the fold, from 0.
        rows: Positions of the held-out rows among all rows.
        outputs: For each held-out row the probabilities of the classes, in index order; of several labels
            the probability of each; of a regression the one score. Empty if the candidate failed.
        score: Score of the metric on the held-out rows; None: the candidate failed.
        settings: The settings chosen inside of the training part.
        trials: All settings that were tried there; empty where there is nothing to choose.
        seconds: Wall time of trials and training.
        passes: Forward and backward passes of trials and training.
        history: Losses and scores during the training with the chosen settings.
        alpha: Name of a mixed weight -> mean, min and max of alpha; empty without it.
        failure: Reason of the failure in one line; None: it did not fail.
    """

    candidate: str
    repeat: int
    fold: int
    rows: list[int]
    outputs: list[list[float]]
    score: float | None
    settings: dict[str, Any] = field(default_factory=dict)
    trials: list[TrialRecord] = field(default_factory=list)
    seconds: float = 0.0
    passes: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    alpha: dict[str, dict[str, float]] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True)
class CandidateRow:
    """A row of the table. A difference is that of the candidate minus the chosen one.

    Attributes:
        name: Name of the candidate.
        verdict: ``"chosen"``; ``"tied"``: not told apart from it; ``"worse"``; ``"not learned"``: no better
            than a constant answer; ``"failed"``; ``"reference"``: the constant answer itself.
        score: Mean over the folds; None: it failed.
        low: Lower end of the 95 % interval of the score.
        high: Upper end.
        fold_scores: Score of each fold, repeat by repeat.
        seconds: Wall time over all folds.
        passes: Passes over all folds.
        difference: Mean difference from the chosen one; None for that itself.
        difference_low: Lower end of its 95 % interval.
        difference_high: Upper end.
        p_value: Of the corrected resampled t-test, after Holm's correction.
        settings: The settings of the folds in words, such as ``"learning_rate 1e-4 (4 of 5 folds)"``.
        scores: All metrics that fit the task, over the held-out outputs of all folds.
        failure: Why it failed or did not learn, in one line; None: it learned.
    """

    name: str
    verdict: Verdict
    score: float | None
    low: float | None
    high: float | None
    fold_scores: list[float | None]
    seconds: float
    passes: float
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p_value: float | None = None
    settings: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True)
class TestRecord:
    """The chosen model on the test file, which was scored once.

    Attributes:
        source: Name of the file.
        score: Score of the metric.
        low: Lower end of the 95 % interval of the test file's draw.
        high: Upper end.
        scores: All metrics that fit the task.
        outputs: As in :class:`FoldRecord`, for each row.
        labels: The right labels: class indices, lists of 0 and 1, or scores.
    """

    __test__ = False  # no test case of pytest

    source: str
    score: float
    low: float
    high: float
    scores: dict[str, float]
    outputs: list[list[float]]
    labels: list[Any]


@dataclass(frozen=True)
class FitRecord:
    """Everything that a report shows, but for the texts.

    Attributes:
        conclusion: The sentence on what to take.
        chosen: Name of the chosen candidate.
        metric: Name of the metric that decided.
        greater_is_better: False for losses and errors.
        label_names: Classes in index order; None for regression.
        problem_type: ``"single_label_classification"``, ``"multi_label_classification"``, ``"regression"``.
        labels: The right labels of all rows: class indices, lists of 0 and 1, or scores.
        source: Name of the training rows.
        text_columns: Names of the columns of the texts, one or two, as the user has them.
        label_columns: Names of the label columns, as the user has them.
        told: What was said before the run, line by line.
        table: A row for each candidate, the best first.
        folds: One record a candidate and fold.
        test: The chosen model on the test file; None: there was none.
        settings: All settings of the selection, by name.
        versions: Name of a library -> its version.
        seconds: Name of a stage -> wall time.
    """

    conclusion: str
    chosen: str
    metric: str
    greater_is_better: bool
    label_names: list[str] | None
    problem_type: str
    labels: list[Any]
    source: str
    text_columns: list[str]
    label_columns: list[str]
    told: list[str]
    table: list[CandidateRow]
    folds: list[FoldRecord]
    test: TestRecord | None
    settings: dict[str, Any]
    versions: dict[str, str]
    seconds: dict[str, float]
