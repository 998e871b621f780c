"""The task of a saved model in its folder: written and read back, and damage is one line."""

from __future__ import annotations

import json

import pytest

from agwm.errors import ConfigError, ModelError
from agwm.prediction import SavedTask, read_task_file, write_task_file
from agwm.prediction.task_file import TASK_FILE

CLASSES = {
    "text_columns": ["title", "body"],
    "label_columns": ["kind"],
    "label_names": ["bug", 'Ünïcode, "quoted"'],
    "problem_type": "single_label_classification",
    "max_length": 128,
    "metric": "f1",
    "positive": "bug",
    "method": "lora",
}
SCORES = {
    **CLASSES, "label_names": None, "problem_type": "regression", "metric": "spearman", "positive": None,
}  # fmt: skip
LABELS = {
    **CLASSES,
    "label_names": ["one"],
    "problem_type": "multi_label_classification",
    "metric": "log_loss",
}


@pytest.mark.parametrize("values", [CLASSES, SCORES, LABELS])
def test_a_task_comes_back(values, tmp_path) -> None:
    saved = SavedTask(**values)
    write_task_file(tmp_path, saved)
    assert read_task_file(tmp_path) == saved
    assert json.loads((tmp_path / TASK_FILE).read_text())["agwm_version"]


def test_a_plain_folder_has_no_task(tmp_path) -> None:
    assert read_task_file(tmp_path) is None


WRONG = [
    ({"text_columns": "text"}, "text_columns of agwm_task.json is of the wrong type: .* got 'text'"),
    ({"text_columns": []}, "expected one or two different text_columns, got"),
    ({"text_columns": ["a", "a"]}, "expected one or two different text_columns"),
    ({"label_columns": []}, "expected one or more label_columns, got none"),
    ({"label_names": None}, "expected label_names for classes alone, got None"),
    ({"label_names": ["a"]}, "expected 2 or more different label_names"),
    ({"label_names": ["a", "a"]}, "expected 2 or more different label_names"),
    ({"problem_type": "regresion"}, "Did you mean 'regression'"),
    ({"problem_type": "regression"}, "expected label_names for classes alone"),
    ({"max_length": 0}, "max_length of agwm_task.json is out of range"),
    ({"max_length": "128"}, "max_length of agwm_task.json"),
    ({"metric": None}, "metric of agwm_task.json is of the wrong type"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_task_is_refused_when_made_and_when_read(change, message, tmp_path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        SavedTask(**{**CLASSES, **change})
    assert "\n" not in str(caught.value)
    (tmp_path / TASK_FILE).write_text(json.dumps({"agwm_version": "1", **CLASSES, **change}))
    with pytest.raises(ModelError, match=message):
        read_task_file(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Cannot read .*agwm_task.json.*: expected the task of a saved model, got"),
        ("[]", "got no object"),
        (json.dumps(CLASSES), "expected the keys text_columns, .* got fewer"),
        (
            json.dumps({**CLASSES, "agwm_version": "1", "metrc": "f1"}),
            "got also 'metrc'. Did you mean 'metric'",
        ),
        ('{"metric": "f1", "metric": "f1"}', "a key that stands twice"),
    ],
)
def test_a_damaged_file_is_one_line(content, message, tmp_path) -> None:
    (tmp_path / TASK_FILE).write_text(content)
    with pytest.raises(ModelError, match=message) as caught:
        read_task_file(tmp_path)
    assert "\n" not in str(caught.value)
