"""agwm.json and the files beside it with odd content: refused in one line, whatever stands in them."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

import agwm
from agwm.errors import AgwmError
from tests.mixing.saving_checks import saved
from tests.tiny_models import tiny_bert


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved")
    saved(path, tiny_bert(num_layers=1))
    return path


@pytest.fixture
def refused(folder):
    """Change a file, try to load, put the file back; return the refusal."""

    def attempt(file, content):
        good = (folder / file).read_bytes()
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        try:
            with pytest.raises(AgwmError) as caught:
                agwm.load(folder)
        finally:
            (folder / file).write_bytes(good)
        text = str(caught.value)
        assert len(text) < 700 and text.isprintable(), text
        return text

    return attempt


ODD = [
    None,
    [],
    {},
    "zz",
    "x" * 100_000,
    -1,
    10**30,
    [1],
    [{}],
    [{"name": "x"}],
    [{"name": 5, "num_batch_dims": 0}],
]
KEYS = (
    "format",
    "model_class",
    "is_hugging_face",
    "formula",
    "alpha",
    "is_own_alpha",
    "init_std",
    "weights",
)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_the_index_is_checked(key, folder, refused):
    index = json.loads((folder / "agwm.json").read_text())
    for value in ODD:
        refused("agwm.json", json.dumps({**index, key: value}))
    del index[key]
    assert key in refused("agwm.json", json.dumps(index))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "nope"}, "expected 'nope' in the model"),
        ({"num_batch_dims": 1}, "Alpha of '.*' does not fit"),
        ({"num_batch_dims": 9}, "Alpha of '.*' does not fit"),
        ({"num_batch_dims": -1}, "'weights.0.num_batch_dims'"),
        ({"num_batch_dims": "0"}, "'weights.0.num_batch_dims'"),
    ],
)
def test_every_weight_of_the_index_is_checked(change, message, folder, refused):
    index = json.loads((folder / "agwm.json").read_text())
    index["weights"][0].update(change)
    assert re.search(message, refused("agwm.json", json.dumps(index)))
    index["weights"] = [index["weights"][1]] * 2
    assert "different weights" in refused("agwm.json", json.dumps(index))


@pytest.mark.parametrize(
    "name", ["AutoModel", "BertConfig", "BertForQuestionAnswering", "PreTrainedModel", "__doc__"]
)
def test_other_classes_are_refused(name, folder, refused):
    index = json.loads((folder / "agwm.json").read_text())
    refused("agwm.json", json.dumps({**index, "model_class": name}))


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"\xff", b"{}", b"[]", b'{"model_type": 5}', b"9" * 5000]
)
@pytest.mark.parametrize("file", ["agwm.json", "config.json"])
def test_other_json_is_refused(file, content, refused):
    refused(file, content)


@pytest.mark.parametrize("file", ["agwm_pretrained.safetensors", "agwm_attention.safetensors"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(file, number, folder, refused, tmp_path):
    tensors = load_file(folder / file)
    name = list(tensors)[2]
    save_file({**tensors, name: torch.full_like(tensors[name], number)}, tmp_path / "x", {"format": "pt"})
    assert "expected finite numbers" in refused(file, (tmp_path / "x").read_bytes())


def test_the_folder_loads_when_nothing_is_changed(folder):
    assert agwm.load(folder).names
