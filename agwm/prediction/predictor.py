"""Predict with a saved model: outputs and labels for texts, row by row as the pipeline of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agwm.checks import Count, check_value
from agwm.data.encoding import DynamicPadding
from agwm.data.tasks import Task
from agwm.errors import DataError, ModelError, shown
from agwm.evaluation.outputs import outputs_of, predictions_of
from agwm.evaluation.predictions import model_logits
from agwm.models.positions import max_tokens
from agwm.models.pretrained import pick_device
from agwm.models.vocabulary import check_reading
from agwm.prediction.saved_model import load_saved
from agwm.prediction.task_file import TASK_FILE, ProblemType, SavedTask, read_task_file
from agwm.prediction.tokens import Texts, as_rows, tokenize

__all__ = ["Predictions", "Predictor", "load_predictor"]

_NO_LIMIT = 10**9  # transformers writes 1e30 for a tokenizer without a limit


@dataclass(frozen=True)
class Predictions:
    """Answers of a model, in the order of the texts.

    Attributes:
        outputs: float64 of shape (texts, k): probabilities of the classes in index order, which sum to 1;
            with several labels the probability of each by itself; in regression the score, k = 1.
        labels: For each text the name of the likeliest class; with several labels a list of those of a
            probability above 0.5; in regression the score.
        label_names: Names of the classes in index order; None for regression.
        problem_type: Kind of the labels, as transformers calls it.
        notes: What was done to texts, as that some were cut; a short line each.
    """

    outputs: np.ndarray
    labels: list[Any]
    label_names: tuple[str, ...] | None
    problem_type: ProblemType
    notes: tuple[str, ...] = ()


class Predictor:
    """A saved model, ready for texts. Make it by :func:`load_predictor`.

    Attributes:
        model: The model, in evaluation mode, on its device.
        tokenizer: Its tokenizer.
        task: The task that it was saved with; None: a plain folder of Hugging Face.
        label_names: Names of the classes in index order; None for regression.
        problem_type: Kind of the labels, as transformers calls it.
        max_length: Number of tokens at which texts are cut; None: never.
        notes: What was found while loading; a short line each.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        task: SavedTask | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Take a model as it is.

        Raises:
            ModelError: If the task has other classes or another kind of labels than the model, or the model
                has several scores.
        """
        self.model, self.tokenizer, self.task = model, tokenizer, task
        self.problem_type, found = _problem_type(model)
        is_regression = self.problem_type == "regression"
        self.label_names = None if is_regression else _label_names(model)
        self.notes = (*notes, *found)
        self._task = _plain_task(self.problem_type, len(model.config.id2label or {}))
        if task is not None:
            _check_task(task, self.label_names, self.problem_type)
        self.max_length = _max_length(model, tokenizer, task)

    def predict(self, texts: Texts, batch_size: int = 64) -> Predictions:
        """Predict the labels of texts.

        Each text is tokenized by the saved tokenizer as ``pipeline("text-classification", folder,
        truncation=True)`` does it, so that the two agree.

        Args:
            texts: Texts, or pairs of them; all are of one kind. There may be none.
            batch_size: Texts a pass.

        Raises:
            ConfigError: If ``batch_size`` is no positive number.
            DataError: If a text is no text, the tokenizer makes no token of it, or the model was trained on
                pairs and these are none, or the other way round.
            ModelError: If the model cannot read what its tokenizer writes, as for pairs.
            DivergenceError: If an output is NaN or infinite.
        """
        check_value("batch_size", Count, batch_size)
        rows = as_rows(texts)
        if not rows:
            width = 1 if self.label_names is None else len(self.label_names)
            return Predictions(np.zeros((0, width)), [], self.label_names, self.problem_type)
        if self.task is not None and len(rows[0]) != len(self.task.text_columns):
            wanted, got = ("pairs", "one text") if len(rows[0]) == 1 else ("single texts", "two")
            raise DataError(
                f"The model was trained on {wanted}: expected {len(self.task.text_columns)} a row"
                f" ({', '.join(shown(name, 40) for name in self.task.text_columns)}), got {got}. Pass such"
                " texts."
            )
        check_reading(str(self.model.name_or_path or ""), self.tokenizer, self.model, len(rows[0]) == 2)
        tokens = tokenize(self.tokenizer, rows, self.max_length)
        # T5 and BART want as many end tokens in each text of a batch
        alone = set(tokens.marked)
        groups = [[at for at in range(len(rows)) if at not in alone], *([at] for at in tokens.marked)]
        order = [at for group in groups for at in group]
        parts = [
            self._logits([tokens.examples[at] for at in group], batch_size) for group in groups if group
        ]
        outputs = outputs_of(torch.cat(parts)[torch.tensor(order).argsort()], self._task)
        labels = self._labels(outputs)
        return Predictions(outputs, labels, self.label_names, self.problem_type, tuple(tokens.notes))

    def _logits(self, examples: list[dict[str, list[int]]], batch_size: int) -> Tensor:
        # without a padding token the model cannot tell where a text of a batch ends
        if None in (self.tokenizer.pad_token_id, self.model.config.pad_token_id):
            return model_logits(self.model, examples, _stack, 1)
        return model_logits(self.model, examples, DynamicPadding(self.tokenizer), batch_size)

    def _labels(self, outputs: np.ndarray) -> list[Any]:
        found = predictions_of(outputs, self._task)
        if self.label_names is None:
            return found.tolist()
        names = self.label_names
        if self._task.multi_label:
            return [[names[at] for at in np.flatnonzero(row)] for row in found]
        return [names[at] for at in found]


def load_predictor(folder: str | Path, device: str = "auto", trust_remote_code: bool = False) -> Predictor:
    """Load a saved model for prediction.

    The folder is one of :mod:`agwm`, whose ``agwm_task.json`` knows columns and cut length, or any plain
    one of Hugging Face with a finetuned head for sequence classification.

    Args:
        folder: Folder of the model.
        device: ``"auto"``, or a name that PyTorch knows.
        trust_remote_code: True to run code that lies in the folder.

    Example:
        >>> import tempfile
        >>> from agwm.testing import pretrained
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = pretrained("bert", 2, Path(folder))
        ...     made.model.save_pretrained(folder)
        ...     found = load_predictor(folder).predict(["the cat is good", "a bad dog"])
        >>> found.outputs.shape, found.label_names
        ((2, 2), ('class 0', 'class 1'))

    Raises:
        ModelError: If the folder holds no finetuned model, or a part of it is missing, damaged or another
            model's.
        ConfigError: If PyTorch cannot use the device.
    """
    task = read_task_file(folder)
    target = pick_device(device)
    saved = load_saved(folder, trust_remote_code)
    model: Any = saved.model
    return Predictor(model.to(target), saved.tokenizer, task, saved.notes)


def _plain_task(problem_type: ProblemType, width: int) -> Task:
    """Return a task for the outputs of a model: its classes are numbers, as names may be there twice."""
    if problem_type == "regression":
        return Task("saved", ("sentence1",), None, "spearman")
    multi_label = problem_type == "multi_label_classification"
    return Task("saved", ("sentence1",), tuple(map(str, range(width))), multi_label=multi_label)


def _problem_type(model: PreTrainedModel) -> tuple[ProblemType, list[str]]:
    """Return the kind of a model's labels, and a note where its config leaves it open.

    Raises:
        ModelError: If it has several scores.
    """
    stated, width = getattr(model.config, "problem_type", None), len(model.config.id2label or {})
    if stated == "regression" and width > 1:
        raise ModelError(
            f"The model answers with several scores: expected one, got {width}. Correct problem_type in its"
            " config.json if they are classes."
        )
    if stated is not None:
        return cast(ProblemType, stated), []
    if width > 1:
        return "single_label_classification", []
    return "regression", ["its config names no problem type: its one output is taken as a score"]


def _label_names(model: PreTrainedModel) -> tuple[str, ...]:
    names: dict[int, str] = cast(Any, model.config.id2label)
    return tuple(str(names[index]) for index in sorted(names))


def _check_task(task: SavedTask, names: tuple[str, ...] | None, problem_type: ProblemType) -> None:
    """Raise if the task of a folder is not that of its model: somebody copied one of the two.

    Raises:
        ModelError: If it is not.
    """
    wanted = None if task.label_names is None else tuple(task.label_names)
    if (wanted, task.problem_type) != (names, problem_type):
        raise ModelError(
            f"{TASK_FILE} is of another model: expected classes {shown(names, 80)} ({problem_type}) as in"
            f" config.json, got {shown(wanted, 80)} ({task.problem_type}). Restore the folder."
        )


def _max_length(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: SavedTask | None
) -> int | None:
    """Return the number of tokens at which the pipeline of transformers cuts, or that the model reads."""
    stated = [tokenizer.model_max_length, max_tokens(model), None if task is None else task.max_length]
    return min((int(one) for one in stated if one is not None and one < _NO_LIMIT), default=None)


def _stack(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {name: torch.tensor([one[name] for one in examples]) for name in examples[0]}
