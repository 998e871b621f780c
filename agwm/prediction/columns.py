"""Columns of a table of predictions: those of the input, and beside them labels and probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from agwm.data.tables import every_column
from agwm.errors import shown
from agwm.prediction.predictor import Predictions

__all__ = ["prediction_frame"]

_MARKS = (";", "|", ",")  # between several labels of a row


def prediction_frame(
    given: Mapping[str, Sequence[Any]], found: Predictions
) -> tuple[pd.DataFrame, list[str]]:
    """Put predictions beside the columns of the input.

    Of classes: ``label``, ``probability`` (of that label) and ``p(CLASS)`` for each class. Of several
    labels a row: ``labels`` with a mark between them, and ``p(LABEL)`` for each. Of a regression:
    ``score``.

    Args:
        given: All columns of the input.
        found: Predictions for its rows.

    Returns:
        The table, and notes on predictions that have another name because the input has theirs.

    Example:
        >>> import numpy as np
        >>> kind = "single_label_classification"
        >>> found = Predictions(np.array([[0.25, 0.75]]), ["yes"], ("no", "yes"), kind)
        >>> frame, notes = prediction_frame({"text": ["a"], "label": ["no"]}, found)
        >>> list(frame.columns), notes
        (['text', 'label', 'predicted_label', 'probability', 'p(no)', 'p(yes)'], ["column 'label' is ..."])
    """
    columns, notes = dict(given), []
    for name, values in _answers(found).items():
        new = name
        while new in columns:
            new = f"predicted_{new}"
        if new != name:
            notes.append(f"column {shown(name, 40)} is in the input: the prediction is {shown(new, 40)}")
        columns[new] = values
    return pd.DataFrame({name: pd.Series(_cells(values)) for name, values in columns.items()}), notes


def _answers(found: Predictions) -> dict[str, Sequence[Any]]:
    if found.label_names is None:
        return {"score": found.labels}
    answers: dict[str, Sequence[Any]] = {}
    if found.problem_type == "multi_label_classification":
        mark = next((one for one in _MARKS if not any(one in name for name in found.label_names)), None)
        # labels that hold every mark stay a list
        answers["labels"] = found.labels if mark is None else [mark.join(row) for row in found.labels]
    else:
        answers["label"] = found.labels
        answers["probability"] = found.outputs.max(axis=1).tolist()
    # two classes of a plain folder may have one name
    names, _, _ = every_column([f"p({name})" for name in found.label_names])
    answers.update(zip(names, found.outputs.T.tolist(), strict=True))
    return answers


def _cells(values: Sequence[Any]) -> Sequence[Any] | pd.Series:
    """Return cells as they are: pandas would make floats of whole numbers beside a missing one."""
    kinds = {type(value) for value in values}
    return values if len(kinds) == 1 else pd.Series(list(values), dtype=object)
