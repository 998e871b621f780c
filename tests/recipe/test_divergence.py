"""Training that diverges ends with one line, in every loop and before the weights are changed."""

import copy
import dataclasses
import math
import re

import pytest
import torch
from torch import nn

import agwm
from agwm.errors import DivergenceError, HypergradientError
from agwm.finiteness import StepCheck, check_weights, largest_gradient
from agwm.methods import METHODS, Job
from agwm.testing import pretrained
from agwm.training.hooks import TrainingHooks
from agwm.training.loop import train
from tests.search_runs import Search, tiny_classifier, vector_batches

NUM = 12


class Line(nn.Module):
    """A model with an output of one number; its loss is that of a regression."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, x, labels):
        gap = self.head(torch.tanh(self.body(x))).squeeze(-1) - labels
        return type("Output", (), {"loss": gap.square().mean()})


def line():
    torch.manual_seed(0)
    return Line()


def dataset(bad=(), value=math.nan):
    generator = torch.Generator().manual_seed(1)
    rows = [{"x": torch.randn(3, generator=generator), "labels": torch.tensor(0.5)} for _ in range(NUM)]
    for index in bad:
        rows[index]["labels"] = torch.tensor(value)
    return rows


def collate(rows):
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


def settings(**final):
    return agwm.FinetuneConfig(
        mixing=agwm.MixingConfig(include=["body.weight"], alpha="frozen"),
        search=agwm.SearchConfig(epochs=1, batch_size=4),
        final=agwm.TrainingConfig(**{"epochs": 2, "batch_size": 3, **final}),
    )


def finetune(rows, config=None, **more):
    return agwm.finetune(line(), rows, collate=collate, config=config or settings(), progress=False, **more)


class Broken(TrainingHooks):
    """Vanilla with one wrong step: its loss, or its gradient alone."""

    def __init__(self, step, what):
        self.count, self.step, self.what = 0, step, what

    def loss(self, model, batch):
        self.count += 1
        loss = super().loss(model, batch)
        return loss * math.inf if self.what == "loss" and self.count == self.step else loss

    def edit_gradients(self, model):
        if self.what == "gradient" and self.count == self.step:
            model.body.weight.grad[0, 0] = math.nan

    def before_step(self, optimizer):
        self.last = [p.detach().clone() for group in optimizer.param_groups for p in group["params"]]


@pytest.mark.parametrize("clipping", [0.0, 1.0])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_one_level_training_names_step_and_examples_and_keeps_the_last_weights(what, clipping):
    model, hooks = line(), Broken(3, what)
    config = agwm.TrainingConfig(epochs=2, batch_size=4, clipping=clipping)
    with pytest.raises(
        DivergenceError, match=f"{what.title()} is not finite in phase 'own' at step 3"
    ) as caught:
        train(
            model,
            dataset(),
            collate=collate,
            config=config,
            seed=0,
            phase="own",
            progress=False,
            hooks=hooks,
        )
    message = str(caught.value)
    numbers = re.search(r"on examples ([\d, ]+)\.", message)[1].split(", ")
    order = torch.utils.data.DataLoader(
        range(NUM), 4, shuffle=True, generator=torch.Generator().manual_seed(0)
    )
    assert [int(number) for number in numbers] == list(order)[2].tolist()
    assert "vanilla.learning_rate" in message and ("lower" if clipping else "set") in message
    assert "\n" not in message
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_a_poisoned_example_is_among_those_named():
    with pytest.raises(
        DivergenceError, match="phase 'search 1/1' at step .* got nan on examples"
    ) as caught:
        finetune(dataset(range(NUM)))
    assert "search.learning_rate" in str(caught.value)
    with pytest.raises(DivergenceError, match=r"got inf on examples ([\d, ]*\b)?5\b"):
        finetune(dataset([5], math.inf))


def test_the_final_stage_names_itself_and_its_settings():
    rows = dataset()

    def evaluate(model):  # the first evaluation of the search poisons what the final stage reads
        rows[7]["labels"] = torch.tensor(math.nan)
        return {}

    config = dataclasses.replace(
        settings(), search=agwm.SearchConfig(epochs=1, batch_size=NUM, evaluations=1)
    )
    with pytest.raises(DivergenceError, match=r"phase 'final'.*on examples .*\b7\b.*final\.learning_rate"):
        finetune(rows, config, evaluate=evaluate)


@pytest.mark.parametrize("form", ["rank1", "frozen"])
@pytest.mark.parametrize("gas", [1, 2])
def test_inner_steps_of_a_search_are_checked(form, gas):
    search = Search(
        tiny_classifier(),
        include="*weight",
        inner=vector_batches(3),
        outer=vector_batches(3),
        train_iters=4,
        gradient_accumulation=gas,
    )
    if form == "frozen":
        search.mixup.attention.requires_grad_(False)
    own, calls = search.engine.inner.training_step, []

    def training_step(batch):
        calls.append(1)
        return own(batch) * (math.nan if len(calls) == bad else 1.0)

    # with alpha to learn, the difference of the first step takes two passes before the second step
    bad = 4 if form == "rank1" and gas == 1 else 2
    search.engine.inner.training_step = training_step
    before = search.weights()
    step = 2 if gas == 1 else 1
    with pytest.raises(
        DivergenceError, match=f"phase 'search' at step {step}: .* nan on batch 2 of epoch 1"
    ):
        search.run()
    assert all(bool(weight.isfinite().all()) for weight in search.weights().values())
    if step == 1:
        assert all(torch.equal(weight, before[name]) for name, weight in search.weights().items())


def test_the_outer_loss_is_a_divergence_and_an_error_of_the_hypergradient():
    search = Search(tiny_classifier(), include="*weight", inner=vector_batches(1), outer=vector_batches(1),
                    train_iters=2)  # fmt: skip
    search.engine.outer.training_step = lambda batch: search.model(**batch).loss * math.nan
    with pytest.raises(
        DivergenceError, match="outer loss in phase 'search' is nan on batch 1 of epoch 1"
    ) as e:
        search.run()
    assert isinstance(e.value, HypergradientError)


def test_weights_that_the_last_step_breaks_are_seen():
    class Hooks(TrainingHooks):
        @torch.no_grad()
        def after_step(self, model):
            model.head.bias.fill_(math.inf)

    with pytest.raises(DivergenceError, match="'head.bias' is not finite at the end of phase 'vanilla'"):
        train(
            line(),
            dataset(),
            collate=collate,
            config=agwm.TrainingConfig(epochs=1, batch_size=NUM),
            seed=0,
            progress=False,
            hooks=Hooks(),
        )


# The last two write a head of their own.
UNTOUCHED = ("lora", "prompt_tuning", "prefix_tuning", "probe", "setfit")


@pytest.mark.parametrize("name", [name for name in METHODS if name not in UNTOUCHED])
def test_every_method_ends_with_the_error(name):
    loaded = pretrained("bert")
    rows = agwm.testing.examples()
    with torch.no_grad():
        next(p for n, p in loaded.model.named_parameters() if n.endswith("classifier.weight")).fill_(
            math.inf
        )
    job = Job(
        loaded, rows, torch.utils.data.default_collate, None, 0,
        agwm.TrainingConfig(epochs=1), agwm.FinetuneConfig(), progress=False,
    )  # fmt: skip
    with pytest.raises(DivergenceError, match="not finite"):
        METHODS[name]().run(job)


def test_scaling_leaves_out_overflows_but_not_for_ever():
    check, nan = StepCheck("final", "Lower it.", 100), torch.tensor(math.nan)
    good = torch.tensor(1.0)
    for step in range(30):
        assert check.look(step, [good], math.inf, ["here"], True)
    for step in range(9):
        assert not check.look(step, [nan], math.nan, ["here"], True)
    assert check.look(9, [good], 1.0, ["here"], True)
    for step in range(9):
        assert not check.look(step, [nan], math.nan, ["here"], True)
    with pytest.raises(DivergenceError, match="Loss is not finite"):
        check.look(9, [nan], math.nan, ["here"], True)
    short = StepCheck("final", "Lower it.", 2)
    assert not short.look(1, [nan], math.nan, ["here"], True)
    with pytest.raises(DivergenceError):
        short.look(2, [nan], math.nan, ["here"], True)


def test_largest_gradient_is_finite_where_a_sum_of_squares_is_not():
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.full((3,), 1e30)
    assert float(largest_gradient([weight])) == pytest.approx(1e30)
    assert float(largest_gradient([nn.Parameter(torch.ones(1))])) == 0.0


def test_nothing_is_written_of_a_model_that_is_not_finite(tmp_path):
    result = finetune(dataset())
    broken = copy.deepcopy(result)
    with torch.no_grad():
        broken.model.head.bias.fill_(math.nan)
    with pytest.raises(DivergenceError, match="Weight 'head.bias' is not finite in the finetuned model"):
        broken.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result.save_pretrained(tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_what_training_does_not_touch_may_hold_infinity_but_nan_is_an_error():
    model = line()
    model.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    check_weights(model, "", "Lower it.")
    model.mask[0] = math.nan
    with pytest.raises(
        DivergenceError, match="Weight 'mask' is not finite: expected finite numbers, got nan"
    ):
        check_weights(model, "", "Lower it.")
