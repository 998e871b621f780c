"""Prediction from Python: folders that hold no finetuned model, wrong texts, and what the result holds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertModel

from agwm.errors import ConfigError, DataError, ModelError
from agwm.prediction import load_predictor
from agwm.prediction.task_file import TASK_FILE
from tests.prediction.saved_models import NAMES, TOKENIZERS, save

TEXTS = ["the lamp", "works the lamp", "", "z"]


def edit(folder, name: str, **values) -> None:
    content = json.loads((folder / name).read_text()) | values
    (folder / name).write_text(json.dumps(content))


def test_predictions_are_in_order_whatever_the_batches(tmp_path) -> None:
    predictor = load_predictor(save(tmp_path / "model"))
    found = predictor.predict(TEXTS)
    assert found.outputs.shape == (4, 3) and found.outputs.dtype == np.float64
    np.testing.assert_allclose(found.outputs.sum(axis=1), 1, atol=1e-12)
    assert found.labels == [NAMES[at] for at in found.outputs.argmax(axis=1)]
    for size in (1, 3):
        np.testing.assert_allclose(predictor.predict(TEXTS, size).outputs, found.outputs, atol=1e-6)
    for place, text in enumerate(TEXTS):
        np.testing.assert_allclose(predictor.predict([text]).outputs[0], found.outputs[place], atol=1e-6)


def test_no_texts_give_no_predictions(tmp_path) -> None:
    found = load_predictor(save(tmp_path / "model")).predict([])
    assert found.outputs.shape == (0, 3) and found.labels == [] and found.label_names == tuple(NAMES)


def test_neither_random_states_nor_modes_move(tmp_path) -> None:
    folder = save(tmp_path / "model")
    before = torch.get_rng_state()
    predictor = load_predictor(folder)
    predictor.predict(TEXTS)
    assert torch.equal(torch.get_rng_state(), before) and not predictor.model.training


def test_a_folder_without_a_task_is_read_from_config_and_tokenizer(tmp_path) -> None:
    predictor = load_predictor(save(tmp_path / "model", text_columns=None))
    assert predictor.task is None and predictor.max_length == 24
    assert predictor.predict(TEXTS).label_names == tuple(NAMES)


def test_texts_are_cut_at_the_positions_of_the_model_where_the_tokenizer_has_no_limit(tmp_path) -> None:
    folder = save(tmp_path / "model", text_columns=None)
    edit(folder, "tokenizer_config.json", model_max_length=10**30)
    predictor = load_predictor(folder)
    assert predictor.max_length == 64
    assert predictor.predict(["the " * 100]).notes == ("1 of 1 text cut at 64 tokens",)


def test_a_model_without_padding_predicts_one_by_one(tmp_path) -> None:
    folder = save(tmp_path / "model", "gpt2", text_columns=None)
    expected = load_predictor(folder).predict(TEXTS[:2]).outputs
    edit(folder, "config.json", pad_token_id=None)
    edit(folder, "tokenizer_config.json", pad_token=None)
    np.testing.assert_allclose(load_predictor(folder).predict(TEXTS[:2]).outputs, expected, atol=1e-6)


def test_one_output_without_a_problem_type_is_a_score_and_told(tmp_path) -> None:
    folder = save(tmp_path / "model", num_labels=1, text_columns=None)
    edit(folder, "config.json", problem_type=None)
    predictor = load_predictor(folder)
    assert predictor.problem_type == "regression"
    assert predictor.notes == ("its config names no problem type: its one output is taken as a score",)


def test_several_scores_are_refused(tmp_path) -> None:
    folder = save(tmp_path / "model", text_columns=None)
    edit(folder, "config.json", problem_type="regression")
    with pytest.raises(ModelError, match="answers with several scores: expected one, got 3"):
        load_predictor(folder)


def test_a_name_that_two_classes_have_is_no_obstacle(tmp_path) -> None:
    folder = save(tmp_path / "model", text_columns=None)
    edit(folder, "config.json", id2label={"0": "x", "1": "x", "2": "y"})
    assert load_predictor(folder).predict(TEXTS).label_names == ("x", "x", "y")


def _without_head(folder) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if k != "classifier.bias"},
        folder / "model.safetensors",
        {"format": "pt"},
    )


def _other_shape(folder) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"], weights["classifier.bias"] = torch.zeros(2, 16), torch.zeros(2)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _pretrained_alone(folder) -> None:
    config = BertConfig.from_pretrained(folder)
    BertModel(config).save_pretrained(folder)


def _masked_words(folder) -> None:
    BertForMaskedLM(BertConfig.from_pretrained(folder)).save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_head, "is not finetuned: expected all its weights .* got none for classifier.bias"),
        (_other_shape, r"is not finetuned: .* classifier.weight of shape \[2, 16\] in place of \[3, 16\]"),
        (_pretrained_alone, "is not finetuned: .* got none for .*classifier.weight"),
        (_masked_words, "is no classifier of texts: .* got 'BertForMaskedLM'"),
        (lambda folder: (folder / "model.safetensors").unlink(), "Cannot load model"),
        (lambda folder: (folder / "config.json").unlink(), "expected a config.json beside weights"),
        (lambda folder: (folder / "config.json").write_text("{"), "Cannot load model"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "got an adapter of peft"),
        (lambda folder: (folder / TASK_FILE).write_text("{"), "expected the task of a saved model"),
        (lambda folder: edit(folder, TASK_FILE, label_names=["a", "b", "c"]), "is of another model"),
        (lambda folder: [one.unlink() for one in folder.glob("*token*")], "no tokenizer|Cannot load"),
    ],
)  # fmt: skip
def test_a_folder_that_holds_no_finetuned_model_is_one_line(damage, message, tmp_path) -> None:
    folder = save(tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_predictor(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_a_path_that_is_no_folder_of_a_model_is_one_line(tmp_path) -> None:
    with pytest.raises(ModelError, match="No model in .*: expected a folder, got nothing there"):
        load_predictor(tmp_path / "modle")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="expected a folder, got a file"):
        load_predictor(tmp_path / "file")
    save(tmp_path / "run" / "model")
    with pytest.raises(ModelError, match=r"Did you mean '?[^ ]*run/model'?\?"):
        load_predictor(tmp_path / "run")
    with pytest.raises(ConfigError, match="Device is not usable"):
        load_predictor(tmp_path / "run" / "model", "gpu7")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("the lamp", "texts is one text: expected a list"),
        (["a", 7], "Text 2 is no text: .* got 7"),
        ([("a", "b", "c")], "Text 1 is no text"),
        (["a", ("a", "b")], "Texts are of both kinds: expected single texts as the first"),
        ([("a", "b")], r"The model was trained on single texts: expected 1 a row \('text'\), got two"),
    ],
)
def test_wrong_texts_are_one_line(texts, message, tmp_path) -> None:
    with pytest.raises(DataError, match=message):
        load_predictor(save(tmp_path / "model")).predict(texts)


def test_a_model_of_pairs_wants_pairs_and_batches_are_positive(tmp_path) -> None:
    predictor = load_predictor(save(tmp_path / "model", text_columns=["one", "two"]))
    with pytest.raises(
        DataError, match=r"trained on pairs: expected 2 a row \('one', 'two'\), got one text"
    ):
        predictor.predict(["a"])
    with pytest.raises(ConfigError, match="batch_size is out of range"):
        predictor.predict([("a", "b")], 0)


def test_a_text_without_a_token_is_refused_by_its_place(tmp_path) -> None:
    folder = save(tmp_path / "model", "gpt2")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert TOKENIZERS["gpt2"]()("")["input_ids"]
    with pytest.raises(DataError, match="Text 3 has no token: expected a text, got ''"):
        load_predictor(folder).predict(TEXTS)
