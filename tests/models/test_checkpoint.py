"""A loaded model is compared with its own files: what does not fit is refused, never drawn at random."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from agwm.errors import ModelError
from agwm.models.pretrained import load_pretrained
from agwm.testing.tiny_models import FAMILIES, pretrained
from agwm.testing.tokens import save_tokenizer

NAMES = ("bad", "good")


@pytest.fixture
def folder(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_weights(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def load(folder, names=NAMES):
    return load_pretrained(str(folder), names, seed=1)


def refused(folder, *parts):
    with pytest.raises(ModelError) as error:
        load(folder)
    message = str(error.value)
    assert "\n" not in message and all(part in message for part in parts), message


def test_the_origin_of_the_weights_is_told(tiny_model):
    loaded = load(tiny_model)
    total = len(list(loaded.model.parameters()))
    assert (loaded.num_tensors, loaded.num_loaded, loaded.notes) == (total, total - 2, ())
    line = (
        f"tiny: {total - 2} of {total} tensors from the checkpoint; new: classifier.weight, classifier.bias"
    )
    assert loaded.origin == line


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("vocab_size", 36, ("word_embeddings.weight of shape [36, 16]", ", 16] in the checkpoint")),
        ("max_position_embeddings", 80, ("position_embeddings.weight of shape [80, 16]",)),
        ("max_position_embeddings", 40, ("position_embeddings.weight of shape [40, 16]",)),
        ("type_vocab_size", 3, ("token_type_embeddings",)),
        ("intermediate_size", 48, ("intermediate.dense.weight",)),
        ("num_hidden_layers", 3, ("got none for bert.encoder.layer.2.attention.self.query.weight",)),
        ("quantization_config", {"quant_method": "gptq", "bits": 4}, ("is quantized", "gptq")),
    ],
)
def test_a_config_that_asks_for_other_weights(folder, key, value, parts):
    change_config(folder, **{key: value})
    refused(folder, *parts)


WITHOUT = {
    "a norm": lambda key: key != "embeddings.LayerNorm.weight",
    "a whole layer": lambda key: "layer.1." not in key,
    "all but a head": lambda key: False,
}


@pytest.mark.parametrize("what", WITHOUT)
def test_missing_weights_of_the_backbone(folder, what):
    keep = WITHOUT[what]
    head = {"classifier.weight": torch.zeros(2, 16), "classifier.bias": torch.zeros(2)}
    change_weights(folder, lambda state: head | {key: value for key, value in state.items() if keep(key)})
    refused(folder, "do not fit its config", "got none for")


def test_weights_of_another_architecture(folder):
    change_weights(folder, lambda state: {f"roberta.{key}": value for key, value in state.items()})
    refused(folder, "do not fit its config")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_loads_whole_and_misses_no_layer_in_silence(family, tmp_path):
    model = pretrained(family).model
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    loaded = load(tmp_path, ("class 0", "class 1"))
    assert loaded.fresh == () and loaded.num_loaded == loaded.num_tensors
    last = [name for name, _ in model.base_model.named_parameters(model.base_model_prefix)]
    last = [name for name in last if "pooler" not in name][-1]
    change_weights(tmp_path, lambda state: {key: value for key, value in state.items() if key != last})
    refused(tmp_path, last)


def test_a_pooler_may_be_new(folder):
    change_weights(folder, lambda state: {k: v for k, v in state.items() if "pooler" not in k})
    loaded = load(folder)
    assert {"bert.pooler.dense.weight", "bert.pooler.dense.bias"} < set(loaded.fresh)
    assert "new: bert.pooler.dense.weight, bert.pooler.dense.bias, classifier.weight" in loaded.origin


def test_prefixes_buffers_and_other_heads_are_fine(folder):
    before = load(folder)
    others = {
        "cls.predictions.bias": torch.zeros(9),
        "bert.embeddings.position_ids": torch.arange(64)[None],
    }
    change_weights(folder, lambda state: others | {f"bert.{key}": value for key, value in state.items()})
    after = load(folder)
    assert after.notes == () and after.origin.startswith("model: ") and after.fresh == before.fresh
    for (name, one), (_, other) in zip(
        before.model.named_parameters(), after.model.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name  # the head too: its seed decides it


def test_layers_that_the_config_leaves_out_are_told(folder):
    change_config(folder, num_hidden_layers=1)
    (note,) = load(folder).notes
    assert note.startswith("model: 16 tensors of its checkpoint are in no layer of its config: ")
    assert "encoder.layer.1." in note


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_told(folder, dtype):
    change_weights(folder, lambda state: {key: value.to(dtype) for key, value in state.items()})
    loaded = load(folder)
    name = str(dtype).removeprefix("torch.")
    assert loaded.notes == (f"model: its weights in {name} are used in float32",)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantized_weights_without_a_word_in_the_config(folder, dtype):
    change_weights(folder, lambda state: {key: value.to(dtype) for key, value in state.items()})
    refused(folder, "is quantized", ".bias")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(folder, value):
    key = "encoder.layer.1.output.dense.bias"
    change_weights(folder, lambda state: state | {key: state[key].index_fill(0, torch.tensor(3), value)})
    refused(folder, "are damaged", f"bert.{key}")


@pytest.mark.parametrize("missing", ["its file", "its weights"])
def test_a_shard_is_missing(folder, missing):
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    keys = list(state)
    names = {key: f"model-0000{1 + (place > 20)}-of-00002.safetensors" for place, key in enumerate(keys)}
    index = {"metadata": {}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    first, second = sorted(set(names.values()))
    save_file({key: state[key] for key in keys if names[key] == first}, folder / first, {"format": "pt"})
    if missing == "its weights":
        save_file({}, folder / second, {"format": "pt"})
    refused(folder, second if missing == "its file" else "got none for")


def test_an_adapter_and_a_mixture_are_no_models(folder):
    (folder / "agwm.json").write_text("{}")
    refused(folder, "mixture", "agwm.load", "--model")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    refused(folder, "adapter of peft", "'owner/base'", "--model")
    (folder / "config.json").unlink()
    refused(folder, "adapter of peft")


DAMAGED = [b"{", b"[1]", b"\xff\xfe", b""]


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_damaged_files_are_one_line(folder, name, content):
    (folder / name).write_bytes(content)
    refused(folder, "--model")
