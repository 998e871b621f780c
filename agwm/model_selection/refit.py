"""Train the chosen candidate on all rows, save it, load it again, and score the test rows once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from agwm.cards import CardFacts, CardScore
from agwm.data.summary import texts_of
from agwm.errors import ModelError
from agwm.evaluation.intervals import score_interval
from agwm.evaluation.scores import all_scores, labels_array, score
from agwm.model_selection.material import Material
from agwm.model_selection.preparation import Prepared
from agwm.model_selection.record import CandidateRow, FoldRecord, TestRecord
from agwm.model_selection.store import Store
from agwm.model_selection.table import agreed_settings
from agwm.model_selection.whole_training import train_on_all
from agwm.models.files import model_name
from agwm.models.pretrained import quiet_transformers
from agwm.prediction.predictor import Predictor, load_predictor
from agwm.prediction.task_file import SavedTask, write_task_file
from agwm.prediction.tokens import tokenize

__all__ = ["Columns", "save_chosen"]

_CLOSE = 1e-4  # of a probability, or of a score's spread: batches of other rows round differently
Columns = tuple[tuple[str, ...], tuple[str, ...]]  # of texts, and of labels, as the user names them


def save_chosen(
    prepared: Prepared,
    row: CandidateRow,
    folds: list[FoldRecord],
    columns: Columns,
    folder: Path,
    notice: Callable[[str], None],
    store: Store,
) -> tuple[TestRecord | None, dict[str, float]]:
    """Train the chosen candidate on all rows and write it into a new folder.

    The model is loaded from the folder again, and must answer as it did before it was saved. Only then the
    test rows are scored, by the loaded model.

    Args:
        prepared: Rows and model.
        row: The chosen row of the table.
        folds: Records of the chosen candidate, whose trials agree on the settings.
        columns: Names of the columns.
        folder: The folder, empty.
        notice: Called with a line for each training that did not learn the rows.
        store: Keeps the checkpoints of that training.

    Returns:
        The score of the test rows, if there are any, and the wall time of each stage.

    Raises:
        ModelError: If no training learns the rows, or the loaded model answers otherwise.
        DivergenceError: If the training diverges.
    """
    material, data, task = prepared.material, prepared.data, prepared.data.task
    start = time.perf_counter()
    settings = agreed_settings(folds, task.metric)
    torch.set_num_threads(material.threads * prepared.jobs)  # no other process works now
    made = train_on_all(material, row, settings, notice, store)
    trained = time.perf_counter()
    with quiet_transformers():
        made.outcome.write(folder, _facts(prepared, row, columns, made.seed))
    saved = SavedTask(
        text_columns=list(columns[0]),
        label_columns=list(columns[1]),
        label_names=None if task.label_names is None else list(task.label_names),
        problem_type=task.problem_type,
        max_length=material.max_length,
        metric=task.metric,
        positive=task.positive_class,
        method=row.name,
    )
    write_task_file(folder, saved)
    predictor = load_predictor(folder, material.options.device, material.options.trust_remote_code)
    _check_same(material, made.outputs, predictor, texts_of(data.train, task), row.name)
    written = time.perf_counter()
    test = None
    if len(data.test):
        found = predictor.predict(texts_of(data.test, task)).outputs
        labels = labels_array(list(data.test["label"]), task)
        low, high = score_interval(task.metric, found, labels, task=task)
        test = TestRecord(
            source=data.sources[1],
            score=score(task.metric, found, labels, task),
            low=low,
            high=high,
            scores=all_scores(found, labels, task),
            outputs=found.tolist(),
            labels=labels.tolist(),
        )
    seconds = {"training on all rows": trained - start, "saving": written - trained}
    return test, seconds | ({"test rows": time.perf_counter() - written} if test else {})


def _check_same(
    material: Material, before: np.ndarray, predictor: Predictor, texts: list[tuple[str, ...]], name: str
) -> None:
    """Raise unless a saved model answers as before, for the rows that both read alike.

    Training reads a special token in a text as text; the tokenizer's own call, as of a pipeline, does not.

    Raises:
        ModelError: If it does not.
    """
    tokens = tokenize(predictor.tokenizer, texts, predictor.max_length).examples
    alike = np.array(
        [one["input_ids"] == row["input_ids"] for one, row in zip(tokens, material.examples, strict=True)]
    )
    after = predictor.predict(texts).outputs
    largest = float(np.abs(before - after)[alike].max(initial=0.0))
    if not largest <= _CLOSE * max(1.0, float(np.abs(before).max())):
        raise ModelError(
            f"The saved model answers otherwise: expected the outputs of {name!r} before it was saved, got"
            f" others by up to {largest:.2g}. Nothing was saved; please report it."
        )


def _facts(prepared: Prepared, row: CandidateRow, columns: Columns, seed: int) -> CardFacts:
    material, task = prepared.material, prepared.data.task
    labels: dict[str, int] = {}
    if task.label_names is not None:
        kinds = material.labels
        counts = kinds.sum(axis=0) if kinds.ndim == 2 else np.bincount(kinds, minlength=task.num_labels)
        labels = {name: int(count) for name, count in zip(task.label_names, counts, strict=True)}
    scores: tuple[CardScore, ...] = ()
    if row.score is not None and row.low is not None and row.high is not None:
        number = len(material.labels)
        scores = (CardScore("cross-validation", task.metric, row.score, row.low, row.high, number),)
    return CardFacts(
        method=row.name,
        task=task.name,
        base=model_name(material.options.model),
        seed=seed,
        num_examples=len(material.labels),
        labels=labels,
        text_columns=columns[0],
        max_length=material.max_length,
        scores=scores,
    )
