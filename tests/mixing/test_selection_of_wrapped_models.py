"""What is mixed by default in a wrapper, beside adapters and under other reparametrizations; predicates."""

from __future__ import annotations

import functools
import re

import pytest
import torch
from torch import nn

import agwm
from agwm.errors import AgwmWarning, SelectionError
from tests.tiny_models import tiny_bert

LAYER = "encoder.layer.0"


def names_of_the_model():
    return agwm.inject(tiny_bert()).names


class OwnClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = tiny_bert().bert
        self.head = nn.Linear(16, 3)


def wrapped(kind):
    """A wrapper and the prefix of the model's names in it."""
    if kind == "compiled":
        return torch.compile(tiny_bert()), "_orig_mod."
    if kind == "list":
        return nn.ModuleList([tiny_bert()]), "0."
    return nn.ModuleDict({"own": OwnClassifier()}), "own.encoder."


@pytest.mark.parametrize("kind", ["compiled", "list", "own head"])
def test_wrapper_mixes_what_the_model_in_it_mixes(kind):
    model, prefix = wrapped(kind)
    found = [name.removeprefix(prefix) for name in agwm.inject(model).names]
    expected = names_of_the_model()
    if kind == "own head":
        expected = [name.removeprefix("bert.") for name in expected]
    assert found == expected


def test_distributed_model(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(tiny_bert())
        names = agwm.inject(model).names
        assert [name.removeprefix("module.") for name in names] == names_of_the_model()
    finally:
        torch.distributed.destroy_process_group()


CONFIGS = {
    "lora": lambda peft: peft.LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS"),
    "lora everywhere": lambda peft: peft.LoraConfig(
        r=2, target_modules=["query", "dense"], modules_to_save=["pooler"], task_type="SEQ_CLS"
    ),
    "ia3": lambda peft: peft.IA3Config(
        target_modules=["query", "dense"], feedforward_modules=["dense"], task_type="SEQ_CLS"
    ),
    "adalora": lambda peft: peft.AdaLoraConfig(
        init_r=2, target_r=1, total_step=5, target_modules=["query"], task_type="SEQ_CLS"
    ),
    "prompt": lambda peft: peft.PromptTuningConfig(num_virtual_tokens=2, task_type="SEQ_CLS"),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.filterwarnings("ignore")
def test_adapters_and_heads_of_peft_are_not_mixed(name):
    peft = pytest.importorskip("peft")
    names = agwm.inject(peft.get_peft_model(tiny_bert(), CONFIGS[name](peft))).names
    plain = [
        re.sub(r"^base_model\.model\.|^base_model\.|base_layer\.|original_module\.", "", n) for n in names
    ]
    plain = [n.replace("base_layer.", "").replace("original_module.", "") for n in plain]
    assert plain == names_of_the_model()


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "norm",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
    ],
)
def test_reparametrized_layers_are_named(norm):
    model = tiny_bert()
    norm(model.bert.encoder.layer[0].intermediate.dense)
    name = f"bert.{LAYER}.intermediate.dense"
    with pytest.warns(AgwmWarning, match=f"left out: expected plain weights, got 1 .*'{name}'"):
        mixup = agwm.inject(model)
    assert f"{name}.weight" in names_of_the_model()
    assert mixup.names == [n for n in names_of_the_model() if n != f"{name}.weight"]


def starts_with(prefix, name):
    return name.startswith(prefix)


PREDICATES = {
    "search": re.compile(r"layer\.0\..*query\.weight").search,
    "match": re.compile(r".*layer\.0\..*query\.weight").match,
    "pattern": re.compile(r"layer\.0\..*query\.weight"),
    "set": {f"bert.{LAYER}.attention.self.query.weight"}.__contains__,
    "partial": functools.partial(starts_with, f"bert.{LAYER}.attention.self.query"),
    "name": lambda name: name.endswith("layer.0.attention.self.query.weight"),
    "both": lambda name, parameter: parameter.dim() == 2 and "layer.0.attention.self.query" in name,
    "optional": lambda name, parameter=None: parameter is not None and "0.attention.self.query" in name,
    "any": lambda *given: len(given) == 2 and "layer.0.attention.self.query" in given[0],
    "list": [re.compile(r"layer\.0\..*query\.weight")],
}


@pytest.mark.parametrize("name", PREDICATES)
def test_predicate_of_any_kind(name):
    mixup = agwm.inject(tiny_bert(), include=PREDICATES[name])
    assert mixup.names == [f"bert.{LAYER}.attention.self.query.weight"]


def test_regular_expression_that_finds_nothing():
    with pytest.raises(SelectionError, match="expected include pattern 'nowhere' .* got 0 of .*regular"):
        agwm.inject(tiny_bert(), include=re.compile("nowhere"))
