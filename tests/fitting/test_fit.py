"""From rows to a model in use, with a tiny model: chosen, saved, loaded again, and used."""

from __future__ import annotations

import json
import random

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from transformers import pipeline

import agwm
from agwm.errors import ConfigError, DataError, MethodError, ModelError
from agwm.methods import linear_head
from agwm.model_selection import schedule, work
from agwm.model_selection.store import FOLDER
from agwm.prediction import load_predictor
from tests.fitting.made_rows import CLASSES, made_rows, tiny_model

QUICK = {"jobs": 1, "progress": False, "device": "cpu"}
TRAINED = {"learning_rate": 5e-3, "epochs": 6, **QUICK}
# The quickest candidate: most tests do not ask what it learns.
BRIEF = {"methods": ["vanilla"], "learning_rate": 5e-3, "epochs": 1, **QUICK}


@pytest.fixture(scope="module", autouse=True)
def few_strengths():
    """Let a probe try three strengths in place of thirteen: its own tests tell how it chooses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_head, "_STRENGTHS", (1e-2, 1.0, 1e2))
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def fitted(model, tmp_path_factory):
    """A probe and vanilla finetuning on 60 rows, with 30 test rows."""
    folder = tmp_path_factory.mktemp("out") / "fitted"
    told = []
    result = agwm.fit(
        made_rows(),
        text="text",
        label="label",
        model=model,
        test=made_rows(30, seed=2),
        methods=["probe", "vanilla"],
        output_dir=folder,
        notice=told.append,
        **TRAINED,
    )
    return result, told


def test_a_fit_says_what_it_read_and_concludes_in_one_paragraph(fitted):
    result, told = fitted
    assert told[0] == "rows: 60 examples, 3 classes: bug 20, praise 20, question 20."
    assert told[1].startswith("test: 30 examples, 3 classes") or "30 examples" in told[1]
    assert any(
        line.startswith("Candidates: constant, probe, vanilla. Each is trained on 4 of 5") for line in told
    )
    assert told[-1].startswith("This takes about ")
    assert result.conclusion.startswith(f"Take {result.best}: accuracy ")
    assert "A constant answer has 0.33" in result.conclusion and "\n" not in result.conclusion
    table = result.table
    assert set(table.index) == {"probe", "vanilla", "constant"}
    assert table.loc[result.best, "verdict"] == "chosen" and table.loc["constant", "verdict"] == "reference"
    assert (
        table.loc[result.best, "low"] <= table.loc[result.best, "score"] <= table.loc[result.best, "high"]
    )


def test_the_folder_answers_alike_in_python_in_the_pipeline_and_in_the_result(fitted):
    result, _ = fitted
    texts = [row["text"] for row in made_rows(12, seed=3)]
    found = result.predict(texts)
    again = load_predictor(result.folder, "cpu").predict(texts)
    assert np.array_equal(found.outputs, again.outputs) and found.labels == again.labels
    piped = pipeline("text-classification", str(result.folder), device="cpu", truncation=True)(texts)
    assert [row["label"] for row in piped] == found.labels
    np.testing.assert_allclose([row["score"] for row in piped], found.outputs.max(axis=1), atol=1e-5)
    right = [row["label"] for row in made_rows(12, seed=3)]
    assert np.mean(np.array(found.labels) == np.array(right)) > 0.8


def test_a_fit_leaves_model_report_record_and_card(fitted):
    result, _ = fitted
    names = {path.name for path in result.folder.iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "README.md",
        "report.html",
        "report.md",
        "fit.json",
    } <= names
    record = json.loads((result.folder / "fit.json").read_text())
    assert record["chosen"] == result.best and len(record["folds"]) == 3 * 5
    assert sorted(row for one in record["folds"][:5] for row in one["rows"]) == list(range(60))
    assert record["test"]["source"] == "rows (test)" and len(record["test"]["outputs"]) == 30
    card = (result.folder / "README.md").read_text()
    assert "cross-validation" in card and "accuracy" in card
    assert result.conclusion in (result.folder / "report.md").read_text().replace("\\", "")


def test_the_model_goes_to_another_folder_without_the_selection(fitted, tmp_path):
    result, _ = fitted
    result.save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy" / FOLDER).exists()
    text = made_rows(1)[0]["text"]
    assert load_predictor(tmp_path / "copy", "cpu").predict([text]).labels == result.predict([text]).labels


def test_a_second_call_finds_all_cells_done(fitted, model, monkeypatch):
    result, _ = fitted
    done = []
    monkeypatch.setattr(schedule, "run_cell", lambda material, cell, store: done.append(cell))
    told = []
    again = agwm.fit(
        made_rows(),
        text="text",
        label="label",
        model=model,
        methods=["probe", "vanilla"],
        output_dir=result.folder,
        notice=told.append,
        **TRAINED,
    )
    assert not done and told[-1].startswith("100% is finished already; the rest takes about ")
    assert again.record.table == result.record.table  # times and all


def test_a_stopped_fit_goes_on_to_the_very_same_end(model, tmp_path, monkeypatch):
    arguments = dict(text="text", label="label", model=model, methods=["vanilla"], **TRAINED)
    whole = agwm.fit(made_rows(), **arguments)
    real, count = work.run_cell, 0

    def stopping(material, cell, store):
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return real(material, cell, store)

    monkeypatch.setattr(schedule, "run_cell", stopping)
    with pytest.raises(KeyboardInterrupt):
        agwm.fit(made_rows(), output_dir=tmp_path / "out", **arguments)
    kept = list((tmp_path / "out" / FOLDER).glob("*.json"))
    assert len(kept) == 3 and not (tmp_path / "out" / "config.json").exists()
    again = agwm.fit(made_rows(), output_dir=tmp_path / "out", **arguments)
    assert count == 4 + 10 - 3
    assert [one.outputs for one in again.record.folds] == [one.outputs for one in whole.record.folds]
    text = [row["text"] for row in made_rows(5, seed=9)]
    assert np.array_equal(again.predict(text).outputs, whole.predict(text).outputs)


def test_other_rows_are_not_taken_for_those_of_kept_cells(model, tmp_path):
    arguments = dict(text="text", label="label", model=model, output_dir=tmp_path, **BRIEF)
    first = agwm.fit(made_rows(30), **arguments)
    told = []
    changed = made_rows(30)
    changed[0]["label"], changed[1]["label"] = changed[1]["label"], changed[0]["label"]
    second = agwm.fit(changed, notice=told.append, **arguments)
    assert second.record.labels != first.record.labels
    assert told[-1].startswith("This takes about ")


def test_a_frame_a_data_set_and_dicts_give_the_same(model):
    arguments = dict(text="text", label="label", model=model, **BRIEF)
    rows = made_rows(30)
    frame, dataset = pd.DataFrame(rows), datasets.Dataset.from_list(rows)
    before = frame.copy()
    found = [agwm.fit(one, **arguments) for one in (rows, frame, dataset)]
    outputs = [[fold.outputs for fold in one.record.folds] for one in found]
    assert outputs[0] == outputs[1] == outputs[2]
    pd.testing.assert_frame_equal(frame, before)


def test_random_states_are_as_before(model):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    agwm.fit(made_rows(30), text="text", label="label", model=model, **BRIEF)
    assert random.getstate() == states[0] and np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_where_nothing_can_be_learned_no_model_is_made(model, tmp_path):
    rows = made_rows(60, noise=1.0)
    result = agwm.fit(rows, text="text", label="label", model=model, output_dir=tmp_path / "out", **BRIEF)
    assert result.best == "constant" and not (tmp_path / "out" / "config.json").exists()
    assert "report.html" in {path.name for path in (tmp_path / "out").iterdir()}
    with pytest.raises(ModelError, match="no model: expected a candidate that learned"):
        result.predict(["the lamp"])


def test_pairs_scores_and_several_labels(model):
    rows = made_rows()
    for place, row in enumerate(rows):
        kind = place % 3
        row |= {"score": kind + 0.5, "bug": int(kind == 0), "any": int(kind != 1)}
    shared = dict(model=model, methods=["probe"], **QUICK)
    pair = agwm.fit(rows, text=["text", "other"], label="label", **shared)
    assert pair.predict([("works the lamp", "the lamp")]).outputs.shape == (1, 3)
    score = agwm.fit(
        rows, text="text", label="score", model=model, methods=["probe"], metric="mae", **QUICK
    )
    assert score.best == "probe" and score.record.table[0].score < 0.5
    assert not score.record.greater_is_better and "mae" in score.conclusion
    several = agwm.fit(rows, text="text", label=["bug", "any"], **shared)
    assert several.record.metric == "micro_f1" and several.record.label_names == ["bug", "any"]
    assert several.predict([rows[0]["text"]]).labels[0] == ["bug", "any"]


def test_settings_are_chosen_on_folds_that_no_trial_saw(model):
    result = agwm.fit(
        made_rows(), text="text", label="label", model=model, methods=["vanilla"], epochs=2, **QUICK
    )
    record = next(one for one in result.record.folds if one.candidate == "vanilla")
    assert len(record.trials) == 2
    best = max(record.trials, key=lambda trial: trial.score)
    assert record.settings == best.settings and record.settings["epochs"] == 2


def test_class_weights_reach_the_training(model):
    rows = made_rows(60)
    for row in rows[:36]:
        row["label"] = CLASSES[0]
    arguments = dict(text="text", label="label", model=model, **BRIEF)
    plain = agwm.fit(rows, **arguments)
    weighted = agwm.fit(rows, class_weight="balanced", **arguments)
    assert plain.record.folds[-1].outputs != weighted.record.folds[-1].outputs


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"methods": ["vanila"]}, ConfigError, "Did you mean .*vanilla"),
        ({"methods": ["probe", "probe"]}, ConfigError, "expected different names"),
        ({"budget": "huge"}, ConfigError, "budget"),
        ({"metric": "acuracy"}, DataError, "accuracy"),
        ({"metric": "spearman"}, DataError, "does not fit"),
        ({"label": "kind"}, DataError, "lacks column 'kind'"),
        ({"model": "no/such"}, ModelError, "model"),
        (
            {"regression": True, "label": "score", "class_weight": "balanced"},
            ConfigError,
            "no classes to weigh",
        ),
        ({"methods": ["setfit"], "label": "score"}, MethodError, "setfit"),
    ],
)
def test_what_cannot_be_right_is_refused_before_the_first_training(model, given, error, match, monkeypatch):
    monkeypatch.setattr(schedule, "run_cell", lambda *given: pytest.fail("trained"))
    rows = [{**row, "score": place / 7} for place, row in enumerate(made_rows())]
    with pytest.raises(error, match=match) as caught:
        agwm.fit(rows, **{"text": "text", "label": "label", "model": model, **QUICK, **given})
    assert "\n" not in str(caught.value)
