"""An injected model saved and loaded: the same W, W0 and alpha, bit for bit."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

import agwm
from agwm.errors import ConfigError
from agwm.mixing.alpha import ALPHA_FORMS
from tests.architectures import ARCHITECTURES, text_batch
from tests.mixing.hook_checks import randomize
from tests.mixing.saving_checks import Plain, check_same, logits, saved
from tests.tiny_models import TINY_MODELS, tiny_bert

SOME = ["bert", "albert", "gpt2", "mixtral", "xlnet", "zamba", "zamba2", "t5", "gpt_oss", "jetmoe", "ibert"]


@pytest.mark.parametrize("name", SOME)
def test_round_trip(name, tmp_path):
    architecture = ARCHITECTURES[name]
    mixup = saved(tmp_path, architecture.build())
    loaded = agwm.load(tmp_path)
    check_same(loaded, mixup)
    assert type(loaded.model) is type(mixup.model) and loaded.model is not mixup.model
    assert agwm.mixup_of(loaded.model) is loaded
    implementation = mixup.model.config._experts_implementation
    if implementation:
        loaded.model.set_experts_implementation(implementation)
    batch = architecture.batch()
    assert torch.equal(logits(loaded.model, batch), logits(mixup.model, batch))


@pytest.mark.parametrize("form", ALPHA_FORMS)
@pytest.mark.parametrize("formula", ["convex", "factored"])
def test_round_trip_of_every_form_and_formula(form, formula, tmp_path):
    mixup = saved(tmp_path, alpha=form, formula=formula)
    loaded = agwm.load(str(tmp_path))
    check_same(loaded, mixup)
    assert torch.equal(logits(loaded.model), logits(mixup.model))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_round_trip_keeps_dtypes(dtype, tmp_path):
    model = tiny_bert(num_labels=3, dtype=dtype)
    mixup = agwm.inject(model.eval(), seed=0)
    if dtype == torch.float64:
        mixup.attention.double()
    randomize(mixup)
    mixup.save_pretrained(tmp_path)
    loaded = agwm.load(tmp_path)
    check_same(loaded, mixup)
    assert {p.dtype for p in loaded.model.parameters()} == {dtype}
    assert {p.dtype for p in loaded.attention.parameters()} == {
        p.dtype for p in mixup.attention.parameters()
    }
    assert torch.equal(logits(loaded.model), logits(mixup.model))


def test_folder_holds_a_model_that_transformers_loads(tmp_path):
    mixup = saved(tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert all(torch.equal(v, mixup.model.state_dict()[k]) for k, v in plain.state_dict().items())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "agwm.json",
        "agwm_pretrained.safetensors",
        "agwm_attention.safetensors",
        "README.md",
    }
    index = json.loads((tmp_path / "agwm.json").read_text())
    assert index["model_class"] == "BertForSequenceClassification"
    assert index["formula"] == "convex" and index["alpha"] == "rank1"
    assert [entry["name"] for entry in index["weights"]] == mixup.names
    assert list(load_file(tmp_path / "agwm_pretrained.safetensors")) == sorted(mixup.names)


def test_saving_again_replaces_what_was_there(tmp_path):
    saved(tmp_path, alpha="full")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"of an older save")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    mixup = saved(tmp_path, tiny_bert(num_labels=3, num_layers=1))
    check_same(agwm.load(tmp_path), mixup)
    assert not list(tmp_path.glob("model-*")) and not list(tmp_path.glob(".*"))


def test_loading_leaves_the_global_generator_of_alpha_alone(tmp_path):
    saved(tmp_path)
    model = tiny_bert(num_labels=3)
    state = torch.get_rng_state()
    loaded = agwm.load(tmp_path, model=model)
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.model is model


def test_loaded_model_learns_and_merges(tmp_path):
    saved(tmp_path)
    loaded = agwm.load(tmp_path)
    loaded.model(**text_batch()).loss.backward()
    assert all(factor.grad.norm() > 0 for factor in loaded.attention.parameters())
    mixed = logits(loaded.model)
    assert torch.equal(logits(loaded.merge()), mixed)


def test_include_and_ties_are_kept(tmp_path):
    model = TINY_MODELS["llama-tied"].build()
    mixup = saved(tmp_path, model, include=["*embed_tokens*", "*q_proj*"])
    loaded = agwm.load(tmp_path)
    check_same(loaded, mixup)
    batch = TINY_MODELS["llama-tied"].batch()
    assert torch.equal(logits(loaded.model, batch), logits(mixup.model, batch))
    assert (
        loaded.model.lm_head._parameters["weight"] is loaded.model.model.embed_tokens._parameters["weight"]
    )


def test_plain_module(tmp_path):
    mixup = saved(tmp_path, Plain())
    loaded = agwm.load(tmp_path, model=Plain().eval())
    check_same(loaded, mixup)
    x = torch.randn(5, 3)
    assert torch.equal(loaded.model(x), mixup.model(x))


def test_named_form_may_be_given_too(tmp_path):
    mixup = saved(tmp_path)
    check_same(agwm.load(tmp_path, alpha="rank1"), mixup)
    check_same(agwm.load(tmp_path, alpha=ALPHA_FORMS["rank1"]), mixup)
    with pytest.raises(ConfigError, match="expected 'rank1', as saved, got 'full'"):
        agwm.load(tmp_path, alpha="full")


def test_every_class_of_the_table_is_found_by_name():
    for architecture in ARCHITECTURES.values():
        assert hasattr(transformers, type(architecture.build()).__name__), architecture.name
