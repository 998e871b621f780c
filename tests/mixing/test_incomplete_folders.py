"""A folder that lacks a tensor, or holds another, is refused: nothing that is loaded is random."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import agwm
from agwm.errors import DataError, ModelError, ShapeError
from tests.mixing.saving_checks import check_same, saved
from tests.tiny_models import TINY_MODELS, tiny_bert

MIXED = "bert.encoder.layer.0.attention.self.query.weight"
W, W0, ALPHA = "model.safetensors", "agwm_pretrained.safetensors", "agwm_attention.safetensors"


def change(path, edit):
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, {"format": "pt"})


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop(MIXED), f"Tensors are missing in .*1 missing: '{MIXED}'"),
        (lambda t: t.pop("classifier.bias"), "missing: 'classifier.bias'"),
        (lambda t: t.update(other=torch.ones(2)), "unexpected: 'other'"),
        (lambda t: t.update({"classifier.bias": torch.ones(9)}), "classifier.bias|DataError|RuntimeError"),
    ],
)
def test_task_weights_that_do_not_load_are_named(edit, message, given, tmp_path):
    saved(tmp_path)
    change(tmp_path / W, edit)
    model = tiny_bert() if given else None
    with pytest.raises(DataError, match=message) as caught:
        agwm.load(tmp_path, model=model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", [W, W0, ALPHA])
@pytest.mark.parametrize("size", [0, 100, -50])
def test_truncated_files_are_one_line(file, size, tmp_path):
    saved(tmp_path)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[:size])
    with pytest.raises(DataError, match="Cannot read") as caught:
        agwm.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        (W0, lambda t: t.update(other=torch.ones(2)), "unexpected: 'other'"),
        (ALPHA, lambda t: t.update({"other.a": torch.ones(2)}), "unexpected: 'other.a'"),
        (W0, lambda t: t.pop(MIXED), f"expected '{MIXED}' in the {W0}"),
        (
            ALPHA,
            lambda t: t.pop(MIXED.replace(".", "/") + ".a"),
            f"Alpha of '{MIXED}' does not fit.*Missing",
        ),
    ],
)
def test_tensors_and_index_have_to_agree(file, edit, message, tmp_path):
    saved(tmp_path)
    change(tmp_path / file, edit)
    with pytest.raises((DataError, ModelError, ShapeError), match=message):
        agwm.load(tmp_path)


@pytest.mark.parametrize("key", ["weights", "model_class", "init_std"])
def test_index_without_a_key_is_one_line(key, tmp_path):
    saved(tmp_path)
    path = tmp_path / "agwm.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != key}))
    with pytest.raises(DataError, match=f"got none of name '{key}'"):
        agwm.load(tmp_path)


@pytest.mark.parametrize("name", ["llama-tied", "t5", "bart", "gpt2"])
def test_tied_weights_are_no_miss(name, tmp_path):
    model = TINY_MODELS[name].build()
    mixup = agwm.inject(model, seed=0)
    mixup.save_pretrained(tmp_path)
    check_same(agwm.load(tmp_path), mixup)
