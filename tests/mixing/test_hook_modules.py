"""The hook on plain modules of torch, on tied weights, and on weights read from elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import agwm
from agwm.errors import ModelError, SelectionError
from tests.mixing.hook_checks import plain_twin, randomize
from tests.tiny_models import TINY_MODELS, tiny_bert


def mixed_and_twin(build, **options):
    torch.manual_seed(0)
    plain = build().double().eval()
    torch.manual_seed(0)
    model = build().double().eval()
    mixup = agwm.inject(model, seed=0, **options)
    mixup.attention.double()
    randomize(mixup)
    return mixup, plain_twin(mixup, plain)


@pytest.mark.parametrize("is_recorded", [True, False])
@pytest.mark.parametrize("is_training", [True, False])
def test_multi_head_attention(is_training, is_recorded):
    mixup, twin = mixed_and_twin(lambda: nn.MultiheadAttention(4, 2, batch_first=True))
    assert mixup.names == ["in_proj_weight", "out_proj.weight"]
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    with torch.set_grad_enabled(is_recorded):
        ours = mixup.model.train(is_training)(x, x, x)[0]
        torch.testing.assert_close(ours, twin.train(is_training)(x, x, x)[0])


def test_multi_head_attention_with_sizes_of_its_own():
    build = lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5, batch_first=True)  # noqa: E731
    mixup, twin = mixed_and_twin(build)
    assert len(mixup.names) == 4
    q, k, v = (torch.randn(2, 3, d, dtype=torch.float64) for d in (4, 3, 5))
    torch.testing.assert_close(mixup.model(q, k, v)[0], twin(q, k, v)[0])


@pytest.mark.parametrize("is_recorded", [True, False])
def test_encoder_layer_with_its_fast_path(is_recorded):
    def build():
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    mixup, twin = mixed_and_twin(build)
    assert len(mixup.names) == 8
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    with torch.set_grad_enabled(is_recorded):
        torch.testing.assert_close(mixup.model(x), twin(x))
    with torch.inference_mode():
        torch.testing.assert_close(mixup.model(x), twin(x))


def test_grouped_pointwise_convolution():
    mixup, twin = mixed_and_twin(lambda: nn.Sequential(nn.Conv1d(4, 6, 1, groups=2)))
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(mixup.model(x), twin(x))


class OwnConvolution(nn.Conv2d):
    pass


class OwnLinear(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


class OwnRaw(nn.Module):
    def __init__(self):
        super().__init__()
        self.projection = nn.Parameter(torch.randn(3, 2, 4))
        self.cls_token = nn.Parameter(torch.randn(1, 1, 3))
        self.matrix = nn.Parameter(torch.randn(3, 3))

    def forward(self, x):
        return torch.einsum("bi,ihd->bhd", x @ self.matrix, self.projection)


def test_own_modules():
    model = nn.Sequential(OwnLinear(3, 3), OwnRaw(), OwnConvolution(1, 1, 2))
    mixup = agwm.inject(model)
    assert mixup.names == ["0.weight", "1.projection"]
    assert isinstance(model[0], OwnLinear) and type(model[0]).__name__ == "OwnLinear"
    assert "OwnLinear" in repr(model)


@pytest.mark.parametrize("cls", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_are_refused(cls):
    model = nn.ModuleDict({"rnn": cls(2, 3), "head": nn.Linear(3, 1)})
    assert agwm.inject(model).names == ["head.weight"]
    agwm.mixup_of(model).remove()
    with pytest.raises(SelectionError, match="recurrent layers read a flattened copy"):
        agwm.inject(model, include="rnn.weight_ih_l0")
    with pytest.raises(SelectionError, match="No weight to mix.*recurrent layers"):
        agwm.inject(cls(2, 3))


def test_parametrized_weight_is_refused():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 3)), nn.Linear(3, 1))
    with pytest.warns(agwm.AgwmWarning, match="left out: expected plain weights, got 1 .*'0'"):
        assert agwm.inject(model).names == ["1.weight"]
    agwm.mixup_of(model).remove()
    with pytest.raises(SelectionError, match="already reparametrized"):
        agwm.inject(model, include="0.*original1")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_module_is_refused():
    model = nn.Sequential(torch.jit.script(nn.Linear(2, 3)))
    with pytest.raises(SelectionError, match="inject before scripting"):
        agwm.inject(model)
    with pytest.raises(SelectionError, match="inject before scripting"):
        agwm.inject(model, include="0.weight")


def test_weight_tied_between_two_linear_maps_is_mixed_once():
    def build():
        model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
        model[2].weight = model[0].weight
        return model

    mixup, twin = mixed_and_twin(build)
    assert mixup.names == ["0.weight"]
    assert mixup.model[0]._parameters["weight"] is mixup.model[2]._parameters["weight"]
    x = torch.randn(2, 3, dtype=torch.float64)
    ours, theirs = mixup.model(x).sum(), twin(x).sum()
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    expected = mixup.alpha("0.weight") * twin[0].weight.grad
    torch.testing.assert_close(mixup.model[0]._parameters["weight"].grad, expected)


def test_embedding_tied_to_the_output_is_mixed_in_both_places():
    tiny = TINY_MODELS["llama-tied"]
    model = tiny.build().eval()
    mixup = agwm.inject(model, include="*embed_tokens*")
    randomize(mixup)
    twin = plain_twin(mixup, tiny.build().eval())
    assert twin.lm_head.weight is twin.model.embed_tokens.weight
    ours, theirs = model(**tiny.batch()), twin(**tiny.batch())
    torch.testing.assert_close(ours.logits, theirs.logits)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)

    def forward(self, x):
        weight = torch.cat([self.first.weight, self.second.weight])
        return torch.nn.functional.linear(x, weight)


def test_weight_read_from_outside_its_module():
    mixup, twin = mixed_and_twin(Reader)
    x = torch.randn(2, 3, dtype=torch.float64)
    torch.testing.assert_close(mixup.model(x), twin(x))


def test_parameters_and_state_are_the_task_weights():
    model = nn.Linear(3, 2)
    weight = model.weight
    mixup = agwm.inject(model, seed=0)
    randomize(mixup)
    assert next(iter(model.parameters())) is weight
    assert torch.equal(model.state_dict()["weight"], weight)
    assert model.weight is not weight
    assert not torch.equal(model.weight, weight)
    assert torch.equal(model.weight, mixup.mixed_weights()["weight"])


def test_state_is_loaded_into_the_task_weights():
    model = nn.Linear(3, 2)
    mixup = agwm.inject(model, seed=0)
    before = mixup.pretrained["weight"].clone()
    fresh = nn.Linear(3, 2).state_dict()
    model.load_state_dict(fresh)
    assert torch.equal(model.state_dict()["weight"], fresh["weight"])
    model.load_state_dict(nn.Linear(3, 2).state_dict(), assign=True)
    assert torch.equal(mixup.pretrained["weight"], before)
    randomize(mixup)
    mixed = model.weight.detach().clone()
    assert torch.equal(mixup.mixed_weights()["weight"], mixed)
    mixup.merge()
    assert torch.equal(model.weight, mixed)


def test_failure_in_an_own_form_is_not_hidden():
    class Broken(agwm.Alpha):
        is_broken = False

        def create_parameters(self):
            self.a = self.new_factor(0, 1)

        def factors(self):
            return (self.missing,) if self.is_broken else (self.a,)

    model = nn.Linear(3, 2)
    agwm.inject(model, alpha=Broken)
    Broken.is_broken = True
    with pytest.raises(RuntimeError, match=r"Mixing 'weight' failed: .*missing"):
        model(torch.randn(1, 3))


def test_plain_tensor_in_place_of_a_weight_is_refused():
    model = nn.Linear(3, 2)
    agwm.inject(model)
    del model._parameters["weight"]  # as nn.DataParallel does in its replicas
    with pytest.raises(ModelError, match="DistributedDataParallel"):
        model.weight = torch.zeros(2, 3)


def test_layer_of_a_hooked_class_is_still_built_by_its_name():
    model = tiny_bert()
    agwm.inject(model)
    assert type(model).__name__ == "BertForSequenceClassification"
    assert str(model) == str(tiny_bert())
