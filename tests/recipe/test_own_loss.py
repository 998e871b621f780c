"""A loss of one's own in both stages, a failed run that leaves no trace, and the average of K searches."""

import copy
import dataclasses
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import agwm
from agwm.errors import ConfigError, ModelError
from agwm.recipe.averaging import Mean
from agwm.training.hooks import TrainingHooks
from agwm.training.loop import train

NUM = 15


class Net(nn.Module):
    """A model that gives logits alone: no loss without a task of one's own."""

    def __init__(self):
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
        self.frozen = nn.Parameter(torch.rand(200) * 0.1, requires_grad=False)
        self.idle = nn.Parameter(torch.rand(200) * 0.1)  # takes gradient, gets none
        self.register_buffer("scale", torch.rand(200) * 0.1)
        self.register_buffer("count", torch.zeros((), dtype=torch.long), persistent=False)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        if self.training:
            self.count += 1
        return self.head(self.dropout(torch.tanh(self.norm(self.body(x))))) + 0 * self.scale.sum()


class Task(agwm.TaskWeightProblem):
    """Smoothed cross entropy; the smoothing is set where the problem is made."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.smoothing = 0.2

    def loss(self, batch):
        assert self.mixup.model is self.model
        return F.cross_entropy(self.model(batch["x"]), batch["y"], label_smoothing=self.smoothing)


class Outer(agwm.AttentionProblem):
    def loss(self, batch):
        return F.cross_entropy(self.model(batch["x"]), batch["y"])


def net():
    torch.manual_seed(0)
    return Net()


def dataset(num=NUM):
    generator = torch.Generator().manual_seed(1)
    return [{"x": torch.randn(4, generator=generator), "y": torch.tensor(i % 3)} for i in range(num)]


def collate(rows):
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


def settings(num_resplits=1, alpha="rank1", **final):
    return agwm.FinetuneConfig(
        mixing=agwm.MixingConfig(include=["body.weight"], alpha=alpha),
        search=agwm.SearchConfig(epochs=1, batch_size=4, num_resplits=num_resplits, learning_rate=1e-2),
        final=agwm.TrainingConfig(**{"epochs": 1, "batch_size": 5, "learning_rate": 1e-2, **final}),
    )


def finetune(model=None, config=None, **more):
    more = {"inner": Task, "outer": Outer, "collate": collate, "progress": False, **more}
    model = net() if model is None else model
    return agwm.finetune(model, dataset(), config=config or settings(), **more)


def test_both_stages_take_the_loss_of_the_inner_problem():
    config = settings(alpha="frozen")
    result = finetune(config=dataclasses.replace(config, final=dataclasses.replace(config.final, epochs=0)))
    twin = copy.deepcopy(result.model)

    class Smoothed(TrainingHooks):
        def loss(self, model, batch):
            return F.cross_entropy(model(batch["x"]), batch["y"], label_smoothing=0.2)

    train(
        twin,
        dataset(),
        collate=collate,
        config=config.final,
        seed=config.seed,
        hooks=Smoothed(),
        progress=False,
    )
    whole = finetune(config=config)
    for name, tensor in twin.state_dict().items():
        assert torch.equal(tensor, whole.model.state_dict()[name]), name


def test_the_mean_loss_is_that_of_the_inner_problem():
    result = finetune(eval_dataset=dataset(7))
    batch = collate(dataset(7))
    with torch.no_grad():
        wanted = F.cross_entropy(result.model(batch["x"]), batch["y"], label_smoothing=0.2)
    assert result.history[-1]["eval_loss"] == pytest.approx(float(wanted), rel=1e-5)


def test_a_task_with_the_hook_of_betty_runs_too():
    class Betty(agwm.TaskWeightProblem):
        def training_step(self, batch):
            return {"loss": F.cross_entropy(self.model(batch["x"]), batch["y"]), "more": 1.0}

    assert finetune(inner=Betty).num_steps["final"] == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"inner": Outer},
            "inner is no problem: expected TaskWeightProblem or a subclass.* got Outer",
        ),
        ({"outer": nn.Linear(1, 1)}, "outer is no problem: .* got an object of Linear"),
        (
            {"inner": type("Two", (Task,), {"loss": lambda self, batch, labels: 0})},
            r"Two.loss does not take a batch: expected loss\(self, batch\)",
        ),
    ],
)
def test_problems_of_a_wrong_kind_are_refused_at_once(more, message):
    with pytest.raises(ConfigError, match=message):
        finetune(**more)


class Stop(Exception):
    pass


def state_of(model):
    return {
        "tensors": {n: t.clone() for n, t in [*model.named_parameters(), *model.named_buffers()]},
        "objects": {n: id(t) for n, t in [*model.named_parameters(), *model.named_buffers()]},
        "gradients": {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()},
        "flags": {n: p.requires_grad for n, p in model.named_parameters()},
        "modes": {n: m.training for n, m in model.named_modules()},
        "classes": {n: type(m) for n, m in model.named_modules()},
    }


def failing(place, error):
    """Return arguments of finetune that fail in one place."""
    calls = []

    class Fails(Task):
        def loss(self, batch):
            calls.append(1)
            if len(batch["y"]) == {"search": 4, "final": 5}.get(place) and len(calls) > 1:
                raise error()
            return super().loss(batch)

    def evaluate(model):
        if place == "evaluation":
            raise error()
        if place == "last evaluation" and len(calls) > 20:
            raise error()
        return {}

    return {"inner": Fails, "evaluate": evaluate}


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
@pytest.mark.parametrize("num_resplits", [1, 2])
@pytest.mark.parametrize("place", ["search", "final", "evaluation", "last evaluation"])
def test_a_failed_run_leaves_the_model_as_it_was_given(place, num_resplits, error):
    model = net()
    model.norm.eval()
    model(dataset()[0]["x"][None]).sum().backward()
    model.head.bias.requires_grad_(False)
    before = state_of(model)
    with pytest.raises(error):
        finetune(model, settings(num_resplits, epochs=8), **failing(place, error))
    after = state_of(model)
    for kind in ("tensors", "gradients"):
        for name, value in before[kind].items():
            same = after[kind][name]
            assert (same is None) if value is None else torch.equal(same, value), (kind, name)
    for kind in ("objects", "flags", "modes", "classes"):
        assert after[kind] == before[kind], kind
    assert agwm.mixup_of(model) is None


class Huge(Task):
    def loss(self, batch):
        return super().loss(batch) + torch.empty(2**60).sum()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="errors take no notes")
def test_lack_of_memory_says_what_to_lower():
    with pytest.raises(RuntimeError, match="allocate") as caught:
        finetune(net(), settings(1, epochs=1), inner=Huge)
    assert any("Raise gradient_accumulation or lower batch_size" in note for note in caught.value.__notes__)


def test_a_model_that_is_mixed_already_keeps_its_mixup():
    model = net()
    mixup = agwm.inject(model, include="body.weight")
    with pytest.raises(ModelError, match="injected already"):
        finetune(model)
    assert agwm.mixup_of(model) is mixup


@pytest.mark.parametrize("num_resplits", [2, 3, 5])
def test_frozen_and_idle_parameters_and_buffers_do_not_move_by_a_bit(num_resplits):
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config = settings(num_resplits, weight_decay=0.0)
    config = dataclasses.replace(config, search=dataclasses.replace(config.search, weight_decay=0.0))
    after = finetune(model, config).model.state_dict()
    for name in ("frozen", "idle", "scale"):
        assert torch.equal(after[name], before[name]), name
    sums = sum([before["frozen"]] * 5)
    assert not torch.equal(sums / 5, before["frozen"]), "no rounding: the test cannot fail"
    assert not torch.equal(after["body.weight"], before["body.weight"])


def test_mean_of_numbers_is_the_sum_divided_and_that_of_equal_ones_exact():
    rows = [torch.tensor([0.1, float(k)]) for k in (3, 5, 9)]
    mean, out = Mean(), torch.zeros(2)
    for row in rows:
        mean.add([row])
    mean.write([out])
    assert torch.equal(out[0], rows[0][0]) and torch.equal(out[1], (rows[0] + rows[1] + rows[2])[1] / 3)


def test_running_statistics_are_averaged_and_counters_are_those_of_the_last_search():
    one = settings(1, epochs=0)
    states = [
        finetune(config=dataclasses.replace(one, seed=one.seed + k)).model.state_dict() for k in range(2)
    ]
    both = finetune(config=settings(2, epochs=0)).model.state_dict()
    mean = (states[0]["norm.running_mean"] + states[1]["norm.running_mean"]) / 2
    assert torch.equal(both["norm.running_mean"], mean)
    assert torch.equal(both["norm.num_batches_tracked"], states[1]["norm.num_batches_tracked"])


def test_gradients_that_were_left_do_not_enter_the_first_step():
    clean, dirty = net(), net()
    for parameter in dirty.parameters():
        parameter.grad = torch.full_like(parameter, 100.0) if parameter.requires_grad else None
    first, second = finetune(clean).model.state_dict(), finetune(dirty).model.state_dict()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
