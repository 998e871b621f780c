"""Ties that come apart, copies of parts, wrappers, and models whose layers were replaced."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import agwm
from agwm.errors import AgwmWarning, ModelError, SelectionError
from agwm.mixing import mixup as mixup_module
from agwm.mixing.hook import install
from tests.mixing.hook_checks import leftovers, randomize, randomize_alpha
from tests.tiny_models import TINY_MODELS, tiny_bert

IDS = torch.arange(1, 13).reshape(2, 6)
QUERY = "encoder.layer.0.attention.self.query.weight"


def injected(**options):
    mixup = agwm.inject(tiny_bert().eval(), seed=0, **options)
    randomize(mixup)
    return mixup


def output(model):
    with torch.no_grad():
        return model(input_ids=IDS)[0]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, input_ids):
        return (self.b(torch.tanh(self.a(input_ids.float()[:, :4].to(self.a.bias.dtype)))),)


def by_assignment(model):
    model.load_state_dict({key: value.clone() for key, value in model.state_dict().items()}, assign=True)


def by_conversion(model):
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        model.double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


@pytest.mark.parametrize("untie", [by_assignment, by_conversion])
@pytest.mark.parametrize("name", ["own", "llama-tied"])
def test_merge_writes_every_place_of_a_tie_that_came_apart(name, untie):
    if name == "own":
        model, options = Tied(), {}
    else:
        model, options = TINY_MODELS[name].build(), {"include": "*embed_tokens*"}
    mixup = agwm.inject(model.eval(), seed=0, **options)
    randomize(mixup)
    untie(model)
    places = mixup.candidates[mixup.names[0]].places
    assert len({id(module._parameters[attribute]) for module, attribute in places}) == 2
    before = output(model)
    mixup.merge()
    assert torch.equal(output(model), before)


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.ModuleDict({"embed": nn.Linear(4, 4)})
        self.head = nn.Linear(4, 4)
        self.head.weight = self.part["embed"].weight


def test_tie_that_leaves_the_injected_part_is_noticed():
    model = Outer()
    mixup = agwm.inject(model.part, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    named = dict(model.named_parameters())
    with pytest.warns(AgwmWarning, match="outside of the ModuleDict .*'weight'"):
        mixup.merge()
    assert optimizer is not None and named


def test_parameters_that_only_an_optimizer_holds_are_no_tie():
    mixup = injected()
    optimizer = torch.optim.Adam(mixup.model.parameters(), lr=0.0)
    named = dict(mixup.model.named_parameters())
    mixup.model(input_ids=IDS).logits.sum().backward()
    optimizer.step()
    mixup.merge()  # a warning would be an error
    assert named


@pytest.mark.parametrize("take_off", ["merge", "remove"])
def test_copy_of_a_part_comes_off(take_off):
    whole = injected()
    part = copy.deepcopy(whole.model.bert)
    before, kept = output(part), output(whole.model)
    mixup = agwm.mixup_of(part)
    assert mixup.model is part and QUERY in mixup.names
    assert torch.equal(mixup.alpha(QUERY), whole.alpha(f"bert.{QUERY}"))
    assert mixup.alpha_form == "rank1" and mixup.formula == "convex"
    randomize_alpha(mixup, seed=5)
    assert not torch.equal(output(part), before)
    before = output(part)
    getattr(mixup, take_off)()
    assert torch.equal(output(part), before) is (take_off == "merge")
    assert leftovers(part) == [] and agwm.mixup_of(part) is None
    assert torch.equal(output(whole.model), kept)
    agwm.inject(part)


def test_part_of_a_model_that_is_merged_is_off_the_whole():
    whole = injected()
    before = output(whole.model)
    agwm.mixup_of(whole.model.bert.encoder.layer[0]).merge()
    assert torch.equal(output(whole.model), before)
    with pytest.raises(ModelError, match="no longer on the model"):
        whole.mixed_weights()


def test_copied_part_saves_nothing_useless(tmp_path):
    part = copy.deepcopy(injected().model.bert)
    with pytest.raises(ModelError, match=r"copy of a part of an injected one. Call merge\(\)"):
        part.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []
    before = output(part)
    agwm.mixup_of(part).merge().save_pretrained(tmp_path)
    assert torch.equal(output(type(part).from_pretrained(tmp_path).eval()), before)


def test_copied_layer_in_the_model_is_merged_with_it():
    mixup = injected()
    layers = mixup.model.bert.encoder.layer
    layers.append(copy.deepcopy(layers[-1]))
    for refused in (mixup.check_whole, lambda: mixup.save_pretrained("nowhere")):
        with pytest.raises(ModelError, match="holds a copy of a mixed part"):
            refused()
    before = output(mixup.model)
    mixup.merge()
    assert leftovers(mixup.model) == []
    assert torch.equal(output(mixup.model), before)


def test_replaced_layer_is_noticed():
    mixup = injected()
    mixup.model.bert.encoder.layer[0].attention.self.query = nn.Linear(16, 16)
    with pytest.raises(ModelError, match=f"lost a mixed weight: expected 'bert.{QUERY}'"):
        mixup.check_whole()
    before = output(mixup.model)
    mixup.merge()
    assert torch.equal(output(mixup.model), before)


def test_mixup_is_found_in_a_wrapper():
    mixup = injected()
    assert agwm.mixup_of(nn.ModuleList([mixup.model])) is mixup
    assert agwm.mixup_of(torch.compile(mixup.model)) is mixup
    with pytest.raises(ModelError, match="several mixups: expected one, got 2"):
        agwm.mixup_of(nn.ModuleList([mixup.model, injected().model]))
    assert agwm.mixup_of(nn.Linear(2, 2)) is None


def test_injected_model_is_pickled():
    mixup = injected()
    again = pickle.loads(pickle.dumps(mixup.model))
    assert type(again) is type(mixup.model)
    assert torch.equal(output(again), output(mixup.model))
    twin = agwm.mixup_of(again)
    assert twin.model is again and twin.names == mixup.names
    before = output(again)
    assert torch.equal(output(twin.merge()), before)


def in_another_process(model, queue):
    queue.put((output(model).tolist(), agwm.mixup_of(model).names))


@pytest.mark.slow
def test_injected_model_is_sent_to_another_process():
    mixup = injected()
    context = torch.multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=in_another_process, args=(mixup.model, queue))
    process.start()
    there, names = queue.get()
    process.join()
    torch.testing.assert_close(torch.tensor(there), output(mixup.model))
    assert names == mixup.names


def test_registry_of_classes_is_not_told_of_hooked_ones():
    kinds, made = {}, []

    class Meta(type):
        def __new__(mcs, name, bases, namespace):
            made.append(name)
            return super().__new__(mcs, name, bases, namespace)

    class Base(nn.Linear, metaclass=Meta):
        def __init_subclass__(cls, **options):
            super().__init_subclass__(**options)
            kinds[cls.__name__] = cls

    class Mine(Base):
        pass

    model = nn.Sequential(Mine(3, 3))
    agwm.inject(model)
    assert kinds == {"Mine": Mine} and made == ["Base", "Mine"]
    assert isinstance(model[0], Mine) and type(model[0]).__name__ == "Mine"


def test_both_names_of_a_shared_module_are_known():
    shared = nn.Linear(3, 3)
    model = nn.ModuleDict({"a": shared, "b": shared})
    mixup = agwm.inject(model, include="b.weight")
    assert mixup.names == ["a.weight"] and len(mixup.candidates["a.weight"].places) == 1
    assert torch.equal(mixup.alpha("b.weight"), mixup.alpha("a.weight"))
    mixup.remove()
    with pytest.raises(SelectionError, match="Pattern matches nothing"):
        agwm.inject(model, include="c.weight")


def test_hook_that_cannot_go_on_leaves_the_model_as_it_was(monkeypatch):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))

    def failing(module, attribute, weight):
        if module is model[1]:
            raise MemoryError
        install(module, attribute, weight)

    monkeypatch.setattr(mixup_module, "install", failing)
    with pytest.raises(MemoryError):
        agwm.inject(model)
    assert leftovers(model) == [] and agwm.mixup_of(model) is None


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_refused_and_works_after_merge():
    model = nn.Sequential(nn.Linear(3, 3))
    mixup = agwm.inject(model)
    x = torch.ones(2, 3)
    for script in (lambda: torch.jit.script(model), lambda: torch.jit.trace(model, x)):
        with pytest.raises(ModelError, match=r"into TorchScript: .* Call merge\(\)"):
            script()
    with torch.no_grad(), pytest.raises(ModelError, match="into TorchScript"):
        torch.jit.trace(model, x)
    exported = torch.export.export(model, (x,)).module()
    assert torch.equal(exported(x), model(x))
    mixup.merge()
    assert torch.equal(torch.jit.script(model)(x), model(x))
    assert torch.equal(torch.jit.trace(model, x)(x), model(x))
