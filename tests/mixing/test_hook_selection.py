"""Which weights are mixed: the default of every architecture, patterns, predicates, and refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import Conv1D

import agwm
from agwm.errors import AgwmWarning, ModelError, SelectionError
from agwm.mixing.selection import find_candidates, select
from tests.architectures import ARCHITECTURES
from tests.tiny_models import TINY_MODELS, tiny_bert

QUERY_0 = "bert.encoder.layer.0.attention.self.query.weight"
# modules that are no nn.Linear or Conv1D, and which of their parameters are linear maps
RAW_LINEAR_MAPS = {
    "xlnet": {"q", "k", "v", "o", "r"},
    "funnel": {"r_kernel"},
    "zamba": {"x_proj_weight", "dt_proj_weight"},
    "gemma3": {"in_proj_weight"},
    "modernvbert": {"in_proj_weight"},
    "ultravbert": {"in_proj_weight"},
    "t5gemma2": {"in_proj_weight"},
    "squeezebert": {"weight"},  # pointwise convolutions
    "convbert": {"weight"},
    "ibert": {"weight"},  # QuantLinear
    "jetmoe": {"weight"},  # stacked experts
}
EXPERTS = {"gate_up_proj", "down_proj"}
NEVER_MIXED = ("emb", "norm", "bias", "A_log", "latents", "probe")


def raw_attributes(model):
    return {
        attribute
        for candidate in select(model)
        for module, attribute in candidate.places
        if not isinstance(module, nn.Linear | Conv1D)
    }


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_default_of_every_architecture(name):
    model = ARCHITECTURES[name].build()
    chosen = select(model)
    base = model.base_model
    inside = {id(parameter) for parameter in base.parameters()}
    assert all(id(c.parameter) in inside and c.parameter.dim() >= 2 for c in chosen)
    for candidate in chosen:
        attribute = candidate.name.rpartition(".")[2]
        assert not any(word in attribute for word in NEVER_MIXED)
        assert not any(isinstance(module, nn.Embedding) for module, _ in candidate.places)
    raw = raw_attributes(model)
    assert raw in (RAW_LINEAR_MAPS.get(name, set()), EXPERTS), raw
    linear = {
        id(module.weight)
        for module_name, module in base.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and not (name == "perceiver" and module_name.startswith("decoder."))
    }
    assert linear <= {id(c.parameter) for c in chosen}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_stacked_experts_are_stacks_of_matrices(name):
    model = ARCHITECTURES[name].build()
    for candidate in select(model):
        module, attribute = candidate.places[0]
        is_stack = attribute in EXPERTS | {"x_proj_weight", "dt_proj_weight"}
        is_stack |= type(module).__name__ == "JetMoeParallelExperts"
        is_stack &= candidate.parameter.dim() == 3
        assert candidate.num_batch_dims == int(is_stack), candidate.name


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss", "jamba", "deepseek_v3", "qwen3_moe"])
def test_routers_given_as_bare_matrices_are_not_mixed(name):
    names = [candidate.name for candidate in select(ARCHITECTURES[name].build())]
    assert not any(n.endswith(("gate.weight", "router.weight")) for n in names)


def test_alpha_of_experts_is_one_matrix_each():
    mixup = agwm.inject(ARCHITECTURES["mixtral"].build(), seed=0)
    alpha = mixup.attention["model.layers.0.mlp.experts.down_proj"]
    assert alpha.a.shape == (4, 16, 1)
    assert alpha.b.shape == (4, 1, 32)


def test_alpha_of_xlnet_projections_has_heads_in_the_columns():
    mixup = agwm.inject(ARCHITECTURES["xlnet"].build(), seed=0)
    alpha = mixup.attention["transformer.layer.0.rel_attn.q"]
    assert alpha.a.shape == (16, 1, 1)
    assert alpha.b.shape == (1, 2, 8)


def test_head_of_perceiver_lies_in_the_backbone_and_is_not_mixed():
    names = [candidate.name for candidate in select(ARCHITECTURES["perceiver"].build())]
    assert names
    assert not any("decoder" in name for name in names)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_head_and_embeddings_of_other_tasks_are_not_mixed(name):
    model = TINY_MODELS[name].build()
    names = [candidate.name for candidate in select(model)]
    assert names
    heads = ("classifier", "qa_outputs", "lm_head", "shared", "embed", "wte", "wpe")
    assert not any(head in weight for head in heads for weight in names)


def test_base_model_alone_has_the_same_default():
    model = tiny_bert()
    whole = {id(candidate.parameter) for candidate in select(model)}
    assert {id(candidate.parameter) for candidate in select(model.bert)} == whole


def test_names_are_in_the_order_of_the_model():
    model = tiny_bert()
    mixup = agwm.inject(model)
    order = [name for name, _ in model.named_parameters() if name in mixup.names]
    assert mixup.names == order


def test_patterns_choose_and_leave_out():
    names = [c.name for c in select(tiny_bert(), "*query.weight", None)]
    assert names == [QUERY_0, QUERY_0.replace("layer.0", "layer.1")]
    names = [c.name for c in select(tiny_bert(), ["*query*", "*key*"], "*layer.1*")]
    assert names == [QUERY_0, QUERY_0.replace("query", "key")]
    assert all("query" not in c.name for c in select(tiny_bert(), None, "*query*"))


def test_a_word_matches_a_part_of_a_name_as_in_target_modules_of_peft():
    names = [c.name for c in select(tiny_bert(), ["query", "value"])]
    assert names == [c.name for c in select(tiny_bert(), ["*.query.*", "*.value.*"])] and len(names) == 4
    assert [c.name for c in select(tiny_bert(), "pooler")] == ["bert.pooler.dense.weight"]
    assert all("query" not in c.name for c in select(tiny_bert(), None, "query"))
    with pytest.raises(SelectionError, match="Close names: .*query.weight"):
        select(tiny_bert(), "quer")  # no part of a name
    with pytest.raises(SelectionError, match="matches nothing"):
        select(tiny_bert(), "query.weight")  # a dot: the whole name, or a glob pattern
    with pytest.raises(SelectionError, match="Biases and norms are trained, not mixed"):
        select(tiny_bert(), "LayerNorm")


def test_words_choose_what_peft_chooses():
    peft = pytest.importorskip("peft")
    words = ["query", "dense"]
    config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=words, r=2)
    adapted = peft.get_peft_model(tiny_bert(), config)
    theirs = {
        name.removeprefix("base_model.model.")
        for name, module in adapted.named_modules()
        if hasattr(module, "base_layer")
    }
    assert theirs == {c.name.removesuffix(".weight") for c in select(tiny_bert(), words)}


def test_frozen_weights_to_mix_are_told():
    model = tiny_bert()
    for parameter in model.bert.encoder.layer[0].parameters():
        parameter.requires_grad_(False)
    with pytest.warns(AgwmWarning, match="got 6 of 13 with requires_grad=False, such as .*layer.0"):
        select(model)


def test_predicates_of_one_and_two_arguments():
    by_name = [c.name for c in select(tiny_bert(), lambda name: "query" in name)]
    by_shape = select(tiny_bert(), lambda name, parameter: parameter.shape[0] == 32)
    without = select(tiny_bert(), None, lambda name, parameter: parameter.shape[0] == 32)
    assert by_name == [QUERY_0, QUERY_0.replace("layer.0", "layer.1")]
    assert by_shape and all(c.parameter.shape[0] == 32 for c in by_shape)
    assert without and all(c.parameter.shape[0] != 32 for c in without)


def test_include_reaches_embeddings_and_head():
    model = tiny_bert()
    mixup = agwm.inject(model, include=["*word_embeddings*", "classifier.weight"])
    assert mixup.names == ["bert.embeddings.word_embeddings.weight", "classifier.weight"]


@pytest.mark.parametrize("kind", ["include", "exclude"])
def test_pattern_that_matches_nothing_shows_close_names(kind):
    with pytest.raises(SelectionError, match="Close names: .*query.weight"):
        agwm.inject(tiny_bert(), **{kind: "*querry.weight"})


def test_predicate_that_accepts_nothing_is_refused():
    with pytest.raises(SelectionError, match="the include predicate to accept at least one"):
        agwm.inject(tiny_bert(), include=lambda name: False)


def test_pattern_for_biases_says_that_they_are_not_mixed():
    with pytest.raises(SelectionError, match="Biases and norms are trained, not mixed"):
        agwm.inject(tiny_bert(), include="*query.bias")


def test_nothing_left_is_an_error():
    with pytest.raises(SelectionError, match="No weight to mix in BertForSequenceClassification"):
        agwm.inject(tiny_bert(), include="*query.weight", exclude="*query*")


def test_model_without_linear_maps_is_refused():
    with pytest.raises(SelectionError, match="No weight to mix in Embedding"):
        agwm.inject(nn.Embedding(3, 2))


def test_refused_model_is_left_as_it_was():
    model = tiny_bert()
    classes = [type(module) for module in model.modules()]
    with pytest.raises(SelectionError):
        agwm.inject(model, include=["*query.weight", "nothing"])
    assert [type(module) for module in model.modules()] == classes
    assert agwm.mixup_of(model) is None


def test_weights_on_the_meta_device_are_refused():
    with torch.device("meta"):
        model = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="meta device"):
        agwm.inject(model)


def test_lazy_weights_are_refused_until_they_have_a_shape():
    model = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(ModelError, match="Call the model once first"):
        agwm.inject(model)
    model(torch.randn(2, 4))
    assert agwm.inject(model).names == ["0.weight"]


def test_quantized_weight_is_refused_with_its_dtype():
    linear = nn.Linear(2, 2)
    linear.weight = nn.Parameter(torch.zeros(2, 2, dtype=torch.int8), requires_grad=False)
    with pytest.raises(SelectionError, match=r"its dtype is torch\.int8"):
        agwm.inject(nn.Sequential(linear, nn.Linear(2, 2)))
    assert agwm.inject(nn.Sequential(linear, nn.Linear(2, 2)), exclude="0.*").names == ["1.weight"]


def test_linear_map_tied_to_an_embedding_is_not_mixed_by_default():
    model = TINY_MODELS["llama-tied"].build()
    candidates = {c.name: c for c in find_candidates(model)}
    tied = candidates["model.embed_tokens.weight"]
    assert tied.aliases == ["model.embed_tokens.weight", "lm_head.weight"]
    assert not tied.is_default
