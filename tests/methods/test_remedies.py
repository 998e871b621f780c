"""A refusal ends with what to do: a setting where one helps, and another method only where none does."""

from __future__ import annotations

import pytest
from transformers import AutoModelForSequenceClassification

from agwm.errors import MethodError
from agwm.methods import METHODS
from agwm.methods.lora import Lora, LoraSettings
from agwm.methods.re_init import ReInit, ReInitSettings
from agwm.methods.top_k import TopK, TopKSettings
from agwm.models.families import head_names
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.testing.tiny_models import FAMILIES, pretrained

OTHER = "Choose another method."


def one_block():
    config = FAMILIES["bert"]()
    config.num_hidden_layers = 1
    model = AutoModelForSequenceClassification.from_config(config)
    return Pretrained(model.eval(), None, tuple(head_names(model)))


def refusal(method, loaded):
    with pytest.raises(MethodError) as error:
        method.check(loaded, FinetuneConfig())
    return str(error.value)


@pytest.mark.parametrize(("name", "asked"), [("top_k", 3), ("re_init", 2)])
def test_defaults_on_a_model_of_one_block(name, asked):
    loaded = one_block()
    assert refusal(METHODS[name](), loaded) == (
        f"Method {name!r} does not fit BertForSequenceClassification: expected num_blocks of at most 1, got"
        f" {asked}. Set rivals.{name}.num_blocks to 1 or less."
    )
    # what it says helps
    fitting = TopK(TopKSettings(num_blocks=1)) if name == "top_k" else ReInit(ReInitSettings(num_blocks=1))
    fitting.check(loaded, FinetuneConfig())


def test_lora_names_the_maps_there_are():
    text = refusal(Lora(LoraSettings(target_modules=["q_proj"])), pretrained("bert"))
    assert text.endswith(
        "got none named 'q_proj'. Set rivals.lora.target_modules to some of dense, key, query, value."
    )
    Lora(LoraSettings(target_modules=["query"])).check(pretrained("bert"), FinetuneConfig())
    loaded = pretrained("bert")
    loaded.model.config.model_type = "a family of its own"
    text = refusal(Lora(), loaded)
    assert (
        text.endswith("Set rivals.lora.target_modules, for example [query, value].") and OTHER not in text
    )


def test_padding_and_checkpointing(tmp_path):
    text = refusal(METHODS["prompt_tuning"](), pretrained("llama", tmp_path=tmp_path))
    assert text.endswith("Set padding_side='left' in the tokenizer's files.")
    loaded = pretrained("bert")
    loaded.model.gradient_checkpointing_enable()
    assert refusal(METHODS["prefix_tuning"](), loaded).endswith("Turn it off.")


@pytest.mark.parametrize("family", ["bart", "xlnet"])
def test_without_a_setting_that_helps_it_is_another_method(family):
    assert refusal(METHODS["prefix_tuning"](), pretrained(family)).endswith(OTHER)
