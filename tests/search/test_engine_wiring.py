"""The objects handed in are the ones that step, as often as they should."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau, SequentialLR

import agwm
from agwm.errors import ConfigError, HypergradientError, ModelError
from agwm.hypergradient._betty import Config, EngineConfig
from tests.search_runs import Search, grouped, tiny_classifier, vector_batches


def small(train_iters: int = 6, **options) -> Search:
    settings = {"inner": vector_batches(3), "outer": vector_batches(2, seed=1), "hypergradient": {}}
    return Search(tiny_classifier(0.1), "*weight", train_iters=train_iters, **(settings | options))


def count_calls(owner, name: str, calls: list[int]) -> None:
    own = getattr(owner, name)

    def counted(*args, **kwargs):
        calls.append(1)
        return own(*args, **kwargs)

    setattr(owner, name, counted)


def test_optimizers_and_param_groups_are_the_ones_handed_in():
    search = small()
    engine = search.engine
    assert engine.inner.optimizer is search.inner_optimizer
    assert engine.outer.optimizer is search.outer_optimizer
    assert [group["lr"] for group in engine.inner.optimizer.param_groups] == [0.01, 0.003]
    before, alpha = search.weights(), search.alpha()
    search.run()
    for name, weight in search.weights().items():
        assert name == "unused" or not torch.equal(weight, before[name])
    assert any(not torch.equal(factor, alpha[name]) for name, factor in search.alpha().items())
    steps = {float(state["step"]) for state in search.inner_optimizer.state.values()}
    assert steps == {6.0}


@pytest.mark.parametrize(("unroll", "gas"), [(1, 1), (3, 1), (1, 2), (3, 2)])
def test_counts_of_steps(unroll, gas):
    search = small(
        unroll_steps=unroll, gradient_accumulation=gas, scheduler=lambda o: LambdaLR(o, lambda _: 1.0)
    )
    inner, outer, scheduled = [], [], []
    search.inner_optimizer.register_step_post_hook(lambda *_: inner.append(1))
    search.outer_optimizer.register_step_post_hook(lambda *_: outer.append(1))
    count_calls(search.engine.inner.scheduler, "step", scheduled)
    search.run()
    assert len(inner) == len(scheduled) == 6
    assert len(outer) == 6 // unroll
    assert search.engine.step == 6
    assert search.engine.global_step == 6 * gas


SCHEDULERS = {
    "one-cycle": lambda o: OneCycleLR(o, max_lr=[0.01, 0.003], total_steps=6),
    "sequential": lambda o: SequentialLR(
        o, [LambdaLR(o, lambda n: (n + 1) / 3), LambdaLR(o, lambda n: 1 / (n + 1))], [3]
    ),
}


@pytest.mark.parametrize("gas", [1, 2])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_give_the_rates_they_give_alone(name, gas):
    model = tiny_classifier()
    alone = torch.optim.AdamW(grouped(model, 0.01), lr=0.01)
    scheduler = SCHEDULERS[name](alone)
    expected = []
    for _ in range(6):
        expected.append([group["lr"] for group in alone.param_groups])
        alone.step()
        scheduler.step()
    search = small(scheduler=SCHEDULERS[name], gradient_accumulation=gas)
    own = search.engine.inner.scheduler
    moments = search.run()
    assert search.engine.inner.scheduler is own
    got = [[moment.groups["first.weight"]["lr"], moment.groups["first.bias"]["lr"]] for moment in moments]
    assert len({rates[0] for rates in got}) > 3
    assert got == expected


def test_scheduler_that_waits_for_a_metric_is_an_error():
    with pytest.raises(ConfigError, match="ReduceLROnPlateau"):
        small(scheduler=ReduceLROnPlateau)


def test_subclassed_problems():
    seen = []

    class MyTask(agwm.TaskWeightProblem):
        def loss(self, batch):
            seen.append("inner")
            return self.model(**batch).loss * 2

    class MyAttention(agwm.AttentionProblem):
        def loss(self, batch):
            seen.append("outer")
            return self.model(**batch).loss * 3

    mixup = agwm.inject(tiny_classifier(0.1), include="*weight", init_std=0.2, seed=0)
    engine = agwm.build_engine(
        mixup,
        vector_batches(3),
        vector_batches(2, seed=1),
        torch.optim.AdamW(mixup.model.parameters(), lr=0.01),
        torch.optim.AdamW(mixup.attention.parameters(), lr=0.01),
        train_iters=2,
        inner=MyTask,
        outer=MyAttention,
        progress=False,
    )
    assert isinstance(engine.inner, MyTask) and isinstance(engine.outer, MyAttention)
    engine.run()
    assert seen.count("outer") == 2
    assert seen.count("inner") == 2 * 3  # the step and two displaced passes


@pytest.mark.parametrize(
    ("returned", "got"),
    [(lambda loss: {"loss": loss}, "dict"), (lambda loss: loss.repeat(2), r"shape \(2,\)")],
)
def test_unusable_loss_is_one_clear_line(returned, got):
    class MyTask(agwm.TaskWeightProblem):
        def loss(self, batch):
            return returned(self.model(**batch).loss)

    # built before the watch wraps training_step
    mixup = agwm.inject(tiny_classifier(), include="*weight")
    engine = agwm.build_engine(
        mixup,
        vector_batches(1, dtype=torch.float64),
        vector_batches(1),
        torch.optim.SGD(mixup.model.parameters(), lr=0.1),
        torch.optim.SGD(mixup.attention.parameters(), lr=0.1),
        train_iters=1,
        inner=MyTask,
    )
    with pytest.raises(ConfigError, match=f"expected a tensor of one number, got .*{got}.*MyTask"):
        engine.run()


def test_second_engine_on_the_same_problems_is_an_error():
    search = small()
    with pytest.raises(ConfigError, match="belong to an engine already"):
        agwm.MixupEngine(search.engine.inner, search.engine.outer)


def make_problems(**names: str):
    mixup = agwm.inject(tiny_classifier(), include="*weight")
    inner = agwm.TaskWeightProblem(
        mixup,
        vector_batches(2),
        torch.optim.SGD(mixup.model.parameters(), lr=0.1),
        name=names.get("inner", "inner"),
    )
    outer = agwm.AttentionProblem(
        mixup,
        vector_batches(2, seed=1),
        torch.optim.SGD(mixup.attention.parameters(), lr=0.1),
        name=names.get("outer", "outer"),
    )
    return inner, outer


def test_engine_without_build_engine_and_with_other_names():
    inner, outer = make_problems(inner="weights", outer="alpha")
    engine = agwm.MixupEngine(inner, outer, EngineConfig(train_iters=2), progress=False)
    engine.run()
    assert engine.weights is inner and engine.alpha is outer
    assert inner.count == outer.count == 2


@pytest.mark.parametrize("names", [{"inner": "run"}, {"outer": "module"}, {"inner": "outer"}])
def test_taken_name_is_one_clear_line(names):
    with pytest.raises(ConfigError, match="Name of a problem is taken"):
        agwm.MixupEngine(*make_problems(**names))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EngineConfig(strategy="ddp"), "Strategy.*'ddp'"),
        (EngineConfig(early_stopping=True), "Early stopping"),
    ],
)
def test_config_that_would_be_ignored_is_an_error(config, message):
    with pytest.raises(ConfigError, match=message):
        agwm.MixupEngine(*make_problems(), config)


def test_unknown_precision_is_an_error():
    mixup = agwm.inject(tiny_classifier(), include="*weight")
    with pytest.raises(ConfigError, match="precision is unknown"):
        agwm.TaskWeightProblem(mixup, config=agwm.HypergradientConfig(precision="bfloat16"))
    with pytest.raises(ConfigError, match="fp16.*CUDA"):
        small(precision="fp16")


@pytest.mark.parametrize(
    "options",
    [{"train_iters": 0}, {"unroll_steps": 1.5}, {"gradient_accumulation": True}, {"valid_step": -1}],
)
def test_counts_out_of_range_are_errors(options):
    with pytest.raises(ConfigError, match="out of range"):
        small(**options)


def test_missing_optimizer_is_an_error():
    mixup = agwm.inject(tiny_classifier(), include="*weight")
    problems = (
        agwm.TaskWeightProblem(mixup, vector_batches(1)),
        agwm.AttentionProblem(mixup, vector_batches(1)),
    )
    with pytest.raises(ConfigError, match="has no optimizer"):
        agwm.MixupEngine(*problems)


def of_others(mixup):
    return torch.nn.Linear(2, 2).parameters()


@pytest.mark.parametrize(
    ("inner", "outer", "message"),
    [
        (of_others, None, "'inner' is not its own.*AdamW over others"),
        (None, of_others, "'outer' is not its own.*AdamW over others"),
        (lambda mixup: mixup.attention.parameters(), None, "'inner' is not its own"),
        (None, lambda mixup: mixup.model.parameters(), "'outer' is not its own"),
    ],
)
def test_an_optimizer_over_other_parameters_is_an_error(inner, outer, message):
    mixup = agwm.inject(tiny_classifier(), include="*weight")
    inner = torch.optim.AdamW(mixup.model.parameters() if inner is None else inner(mixup))
    outer = torch.optim.AdamW(mixup.attention.parameters() if outer is None else outer(mixup))
    with pytest.raises(ConfigError, match=message):
        agwm.build_engine(mixup, vector_batches(2), vector_batches(2), inner, outer, 1)


def test_what_is_no_optimizer_is_an_error():
    mixup = agwm.inject(tiny_classifier(), include="*weight")
    outer = torch.optim.AdamW(mixup.attention.parameters())
    with pytest.raises(ConfigError, match=r"'inner' is not its own.*got str\."):
        agwm.build_engine(mixup, vector_batches(2), vector_batches(2), "adam", outer, 1)


@pytest.mark.parametrize("take_off", ["merge", "remove"])
def test_a_mixup_that_is_off_its_model_is_an_error(take_off):
    mixup = agwm.inject(tiny_classifier(), include="*weight")
    inner = torch.optim.AdamW(mixup.model.parameters())
    outer = torch.optim.AdamW(mixup.attention.parameters())
    getattr(mixup, take_off)()
    with pytest.raises(ModelError, match="no longer on the model"):
        agwm.build_engine(mixup, vector_batches(2), vector_batches(2), inner, outer, 1)


def test_weights_in_half_precision_have_no_hypergradient():
    def build(**options):
        batches = vector_batches(2, dtype=torch.bfloat16)
        model = tiny_classifier(dtype=torch.bfloat16)
        return Search(model, "*weight", inner=batches, outer=batches, train_iters=2, **options)

    with pytest.raises(ModelError, match="too coarse.*bfloat16 in 'unused'.*dtype=torch.float32"):
        build(hypergradient={})
    assert build(hypergradient={"order": "first"}).run()  # takes no difference


@pytest.mark.parametrize("value", [-1.0, "a", None, float("nan")])
def test_clipping_out_of_range_is_an_error(value):
    with pytest.raises(ConfigError, match="gradient_clipping is out of range"):
        small(gradient_clipping=value)


def test_settings_of_the_hypergradient_that_are_no_mapping_are_an_error():
    with pytest.raises(ConfigError, match="expected a mapping.*got 'central'"):
        small(hypergradient="central")


class _RenamedAdamW(torch.optim.AdamW):
    pass


def test_optimizers_whose_derivative_is_not_known():
    small(optimizer=_RenamedAdamW).run()
    for optimizer, settings in ((torch.optim.RMSprop, {}), (torch.optim.AdamW, {"amsgrad": True})):
        with pytest.raises(HypergradientError, match="No derivative of the inner optimizer"):
            small(optimizer=optimizer, settings=settings)
        small(optimizer=optimizer, settings=settings, hypergradient={"best_response": "sgd"}).run()


@pytest.mark.parametrize("hook", ["grad_callback", "param_callback", "custom_optimizer_step"])
def test_hooks_that_change_the_inner_step_have_no_derivative(hook):
    task = type("MyTask", (agwm.TaskWeightProblem,), {hook: lambda self: None})
    options = {"inner": task}
    mixup = agwm.inject(tiny_classifier(), include="*weight")

    def build(best_response: str):
        return agwm.build_engine(
            mixup,
            vector_batches(1),
            vector_batches(1),
            torch.optim.AdamW(mixup.model.parameters()),
            torch.optim.AdamW(mixup.attention.parameters()),
            1,
            {"best_response": best_response},
            progress=False,
            **options,
        )

    with pytest.raises(HypergradientError, match=f"No derivative of {hook}"):
        build("optimizer")
    build("sgd").run()


@pytest.mark.parametrize("order", ["first", "second"])
def test_hypergradient_that_is_not_finite_is_an_error(order):
    search = small(hypergradient={"order": order}, outer=[{**vector_batches(1)[0]}])
    search.engine.outer.training_step = lambda batch: search.model(**batch).loss * math.nan
    with pytest.raises(
        HypergradientError, match=r"at inner step 1: expected finite norms, got .*nan.*epsilon"
    ):
        search.run()


def test_displacement_that_overflows_names_the_knob(monkeypatch):
    monkeypatch.setattr("agwm.checks.LARGEST", math.inf)  # no setting is so large; weights may be
    search = small(hypergradient={"epsilon": 1e308})
    with pytest.raises(HypergradientError, match=r"u .*, indirect (nan|inf).*hypergradient\.epsilon"):
        search.run()


@pytest.mark.parametrize("name", ["configure_optimizers", "param_callbacks", "trainning_step"])
def test_misspelt_hook_is_warned_of(name):
    mixup = agwm.inject(tiny_classifier(), include="*weight")
    task = type("MyTask", (agwm.TaskWeightProblem,), {name: lambda self: None})
    with pytest.warns(agwm.AgwmWarning, match=rf"MyTask\.{name} is never called"):
        task(mixup)


def test_other_methods_are_not_warned_of():
    mixup = agwm.inject(tiny_classifier(), include="*weight")
    methods = (
        "configure_optimizer",
        "loss",
        "compute_loss",
        "batch_size",
        "group_params",
        "epoch_callback",
    )
    type("MyTask", (agwm.TaskWeightProblem,), {name: lambda self, *_: None for name in methods})(mixup)
    agwm.AttentionProblem(mixup)
    assert Config().type == "darts"
