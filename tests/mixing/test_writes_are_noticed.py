"""What is written through the attribute of a mixed weight raises; what is written to W works."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import fusion, parametrizations, prune

import agwm
from agwm.errors import ModelError
from tests.mixing.hook_checks import own_weights, randomize
from tests.tiny_models import tiny_bert

ONES = torch.ones(4, 3)


def layer():
    torch.manual_seed(0)
    linear = nn.Linear(3, 4)
    randomize(agwm.inject(linear, seed=0))
    return linear


def augmented(weight):
    weight += 1


def view_of_data(weight):
    weight.data.view(-1)[2:5].fill_(1)


WRITES = {
    "zeros_": lambda w: nn.init.zeros_(w),
    "kaiming_uniform_": lambda w: nn.init.kaiming_uniform_(w),
    "orthogonal_": lambda w: nn.init.orthogonal_(w),
    "trunc_normal_": lambda w: nn.init.trunc_normal_(w),
    "fill_ of data": lambda w: w.data.fill_(3.0),
    "set data": lambda w: setattr(w, "data", ONES),
    "augmented": augmented,
    "entries": lambda w: w.__setitem__(0, 0.0),
    "view of data": view_of_data,
    "transpose": lambda w: w.T.mul_(2),
    "row": lambda w: w.data.unbind()[0].zero_(),
    "part": lambda w: w.detach().chunk(2)[0].zero_(),
    "set_": lambda w: w.data.set_(ONES),
    "function": lambda w: torch.clamp_(w.data, 0),
    "unbound method": lambda w: torch.Tensor.fill_(w.data, 0),
    "out": lambda w: torch.add(ONES, 1, out=w.data),
    "foreach": lambda w: torch._foreach_mul_([w.data], 2.0),
    "inplace": lambda w: F.relu(w.data, inplace=True),
    "freeze": lambda w: w.requires_grad_(False),
    "freeze by attribute": lambda w: setattr(w, "requires_grad", False),
    "hook": lambda w: w.register_hook(print),
    "gradient": lambda w: setattr(w, "grad", ONES),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("is_recorded", [True, False])
def test_write_through_the_attribute_raises(name, is_recorded):
    linear = layer()
    before, mixed = copy.deepcopy(linear.state_dict()), linear.weight.detach().clone()
    with torch.set_grad_enabled(is_recorded), pytest.raises(ModelError, match=r"Cannot write .*merge\(\)"):
        WRITES[name](linear.weight)
    assert all(torch.equal(value, before[key]) for key, value in linear.state_dict().items())
    assert torch.equal(linear.weight, mixed)


def test_array_of_the_weights_is_read_only():
    array = layer().weight.detach().numpy()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


READS = {
    "sum": lambda w: w.sum(),
    "copied into another": lambda w: torch.zeros(4, 3).copy_(w.detach()),
    "added to another": lambda w: torch.zeros(4, 3).add_(w.detach()),
    "clone": lambda w: w.detach().clone().zero_(),
    "copy": lambda w: copy.deepcopy(w.data).zero_(),
    "double": lambda w: w.detach().double().zero_(),
    "linear": lambda w: F.linear(torch.ones(2, 3), w),
    "stacked": lambda w: torch.stack([w, w]).mul_(2),
    "text": repr,
}


@pytest.mark.parametrize("name", READS)
def test_reading_and_writing_to_what_was_read_works(name):
    linear = layer()
    mixed = linear.weight.detach().clone()
    assert READS[name](linear.weight) is not None
    assert torch.equal(linear.weight, mixed)


REPLACED = {
    "parameter": lambda m: setattr(m, "weight", nn.Parameter(ONES)),
    "none": lambda m: setattr(m, "weight", None),
    "deletion": lambda m: delattr(m, "weight"),
    "register": lambda m: m.register_parameter("weight", nn.Parameter(ONES)),
    "reset": lambda m: m.reset_parameters(),
    "fused": lambda m: fusion.fuse_linear_bn_eval(m.eval(), nn.BatchNorm1d(4).eval()),
    "weight norm": lambda m: parametrizations.weight_norm(m),
    "spectral norm": lambda m: parametrizations.spectral_norm(m),
    "orthogonal": lambda m: parametrizations.orthogonal(m),
    "pruned": lambda m: prune.l1_unstructured(m, "weight", 0.5),
    "old spectral norm": lambda m: nn.utils.spectral_norm(m),
    "old weight norm": lambda m: nn.utils.weight_norm(m),
}


@pytest.mark.parametrize("name", REPLACED)
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_weight_is_not_replaced_and_stays_as_it_was(name):
    linear = layer()
    before, kind = copy.deepcopy(linear.state_dict()), type(linear)
    mixed = linear.weight.detach().clone()
    with pytest.raises(ModelError, match=r"merge\(\)"):
        REPLACED[name](linear)
    assert type(linear) is kind
    assert linear.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in linear.state_dict().items())
    assert torch.equal(linear.weight, mixed)


def test_other_parameters_of_the_layer_can_be_replaced():
    linear = layer()
    linear.bias = nn.Parameter(torch.ones(4))
    assert torch.equal(linear.bias, torch.ones(4))
    del linear.bias
    assert not hasattr(linear, "bias")


def test_layer_without_its_weight_says_so():
    linear = layer()
    del linear._parameters["weight"]
    assert not hasattr(linear, "weight")
    with pytest.raises(AttributeError, match="no attribute 'weight'"):
        _ = linear.weight


def test_state_is_loaded_moved_and_assigned():
    linear = layer()
    fresh = {name: value + 1 for name, value in linear.state_dict().items()}
    linear.load_state_dict(fresh)
    assert torch.equal(own_weights(linear)["weight"], fresh["weight"])
    assigned = {name: value + 1 for name, value in fresh.items()}
    linear.load_state_dict(assigned, assign=True)
    assert own_weights(linear)["weight"].data_ptr() == assigned["weight"].data_ptr()
    linear.double()
    assert linear.weight.dtype == torch.float64
    with pytest.raises(ModelError):  # loading ends: an assignment is refused again
        linear.weight = nn.Parameter(ONES)


def test_initialisation_of_an_injected_model_raises():
    model = tiny_bert()
    agwm.inject(model)
    with pytest.raises(ModelError, match="Cannot write into mixed weights"):
        model.apply(model._init_weights)


def test_frozen_alpha_gives_w_itself_to_write_to():
    linear = nn.Linear(3, 4)
    agwm.inject(linear, alpha="frozen")
    nn.init.zeros_(linear.weight)
    assert not own_weights(linear)["weight"].any()


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"init_lora_weights": "gaussian"}])
@pytest.mark.filterwarnings("ignore")
def test_merge_of_an_adapter_raises_and_works_after_merge(options):
    peft = pytest.importorskip("peft")
    model = tiny_bert().eval()
    mixup = agwm.inject(model, seed=0)
    randomize(mixup)
    config = peft.LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS", **options)
    lora = peft.get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    ids = torch.arange(1, 7).reshape(1, 6)
    before = lora(input_ids=ids).logits
    with pytest.raises(ModelError, match="Cannot write into mixed weights"):
        lora.merge_and_unload()
    torch.testing.assert_close(lora(input_ids=ids).logits, before)
    mixup.merge()
    torch.testing.assert_close(lora.merge_and_unload()(input_ids=ids).logits, before)
