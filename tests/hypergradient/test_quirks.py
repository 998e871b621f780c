"""What agwm works around in Betty 0.2.1: each test fails on the day Betty mends it.

Everything here runs on Betty's own classes. A test that fails says that a workaround in
``agwm/hypergradient/_betty.py`` or ``agwm/hypergradient/search_step.py`` may go.
"""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem
from torch import Tensor, nn
from transformers import BatchEncoding

from tests.betty_programs import Decay, DirectOuter, Inner, Outer, batches, engine, linear, problems


def upper_gradient(**kwargs) -> Tensor:
    inner, outer = problems(**kwargs)
    seen = []
    built = engine(inner, outer)
    outer.optimizer.register_step_pre_hook(lambda *_: seen.append(outer.module.rate.grad.clone()))
    built.run()
    return seen[0]


def test_optimizers_are_rebuilt_and_adamw_fails():
    with pytest.raises(TypeError, match="decoupled_weight_decay"):
        engine(*problems(optimizer=lambda parameters: torch.optim.AdamW(parameters)))


def test_param_groups_are_lost():
    def with_groups(parameters):
        return torch.optim.SGD([{"params": list(parameters), "lr": 0.01}], lr=0.5)

    inner, outer = problems(optimizer=with_groups)
    own = inner.optimizer
    engine(inner, outer)
    assert inner.optimizer is not own
    assert inner.optimizer.param_groups[0]["lr"] == 0.5


def test_schedulers_are_rebuilt_and_one_cycle_fails():
    with pytest.raises(AttributeError, match="max_lr"):
        engine(
            *problems(scheduler=lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=3))
        )


def test_autocast_is_of_cuda_only():
    seen = []

    class Watched(Inner):
        def training_step(self, batch):
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().training_step(batch)

    with pytest.warns((FutureWarning, UserWarning)):
        upper_gradient(inner_config=Config(precision="bf16"), inner=Watched)
    assert not any(seen)


def test_type_of_the_outer_problem_is_ignored():
    expected = upper_gradient()
    assert torch.equal(upper_gradient(outer_config=Config(type="nonsense", darts_alpha=1e9)), expected)


@pytest.mark.filterwarnings("ignore:Using backward")
def test_first_order_drops_the_indirect_term_when_it_is_false():
    indirect = upper_gradient()
    assert indirect.norm() > 0
    inner, outer = problems(outer_config=Config(first_order=False))
    engine(inner, outer).run()
    assert torch.equal(outer.module.rate, Decay().rate)


def test_outer_loss_that_depends_on_its_own_parameters_needs_a_retained_graph():
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        upper_gradient(outer=DirectOuter)
    upper_gradient(outer=DirectOuter, outer_config=Config(retain_graph=True))


def test_darts_has_no_learning_rate():
    """Its indirect term is minus the mixed derivative at the updated weights."""
    (data,), (held_out,) = batches(1), batches(1, seed=1)
    layer, decay = linear(), Decay()

    def train_loss() -> Tensor:
        logits = layer(data["x"]).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, data["y"])
        return loss + (decay.rate * layer.weight**2).sum()

    (slope,) = torch.autograd.grad(train_loss(), [layer.weight])
    layer.weight.data.sub_(0.5 * slope)
    logits = layer(held_out["x"]).squeeze(1)
    (vector,) = torch.autograd.grad(
        nn.functional.binary_cross_entropy_with_logits(logits, held_out["y"]), [layer.weight]
    )
    (slope,) = torch.autograd.grad(train_loss(), [layer.weight], create_graph=True)
    (mixed,) = torch.autograd.grad((slope * vector).sum(), [decay.rate])
    torch.testing.assert_close(upper_gradient(), -mixed, rtol=1e-4, atol=0)


def test_displaced_passes_draw_fresh_masks():
    masks = []

    class Dropped(Inner):
        def training_step(self, batch):
            masks.append(torch.bernoulli(torch.full((64,), 0.5)))
            return super().training_step(batch)

    upper_gradient(inner=Dropped)
    assert len(masks) == 3
    assert not any(torch.equal(masks[0], mask) for mask in masks[1:]) and not torch.equal(*masks[1:])


def test_displaced_passes_fail_on_the_documented_dict():
    class Documented(Inner):
        def training_step(self, batch):
            return {"loss": super().training_step(batch)}

    with pytest.raises(AssertionError, match="torch.Tensor"):
        upper_gradient(inner=Documented)


def test_displaced_weights_do_not_come_back_bit_for_bit():
    inner, outer = problems()
    moved = []
    built = engine(inner, outer)

    def note(*_):
        moved.append(inner.module.weight.detach().clone())

    inner.optimizer.register_step_post_hook(note)
    outer.optimizer.register_step_pre_hook(note)
    for _ in range(20):
        built.train_step()
    assert any(not torch.equal(a, b) for a, b in zip(moved[::2], moved[1::2], strict=True))


def test_roll_back_takes_back_the_outer_step_where_the_module_is_shared():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.rate = linear().weight, Decay().rate

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight.t()

    class OneOfTwo(Outer):
        def trainable_parameters(self):
            return [self.module.rate]

    class Other(Inner):
        def trainable_parameters(self):
            return [self.module.weight]

    shared = Shared()
    inner, outer = problems(inner=Other, outer=OneOfTwo, module=shared)
    outer.module, outer.optimizer = shared, torch.optim.SGD([shared.rate], lr=0.1)
    engine(inner, outer, roll_back=True, train_iters=3).run()
    assert torch.equal(shared.rate, Decay().rate)


def test_roll_back_takes_only_the_last_of_the_unrolled_steps_again():
    inner, outer = problems(inner_config=Config(unroll_steps=3))
    calls = []
    built = engine(inner, outer, roll_back=True, train_iters=3)
    inner.optimizer.register_step_post_hook(lambda *_: calls.append(1))
    built.run()
    assert len(calls) == 3 + 1


def test_frozen_parameter_is_an_error():
    class WithFrozen(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 1, bias=False, dtype=torch.float64)
            self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    with pytest.raises(RuntimeError, match="requires_grad"):
        engine(*problems(module=WithFrozen())).run()


def test_batch_encoding_becomes_its_keys():
    seen = []

    class Watched(Inner):
        def training_step(self, batch):
            seen.append(batch)
            return super().training_step(dict(batches(1)[0]))

    upper_gradient(inner=Watched, loader=[BatchEncoding(batch) for batch in batches()])
    assert seen[0] == ("x", "y")


def test_name_that_is_taken_is_an_empty_assertion():
    inner, outer = problems()
    inner._name = "run"
    with pytest.raises(AssertionError, match="Problem already has"):
        engine(inner, outer)
    inner, outer = problems()
    engine(inner, outer)
    with pytest.raises(AssertionError) as caught:
        engine(inner, outer)
    assert "\n" not in str(caught.value) and "agwm" not in str(caught.value)


def test_misspelt_hook_is_ignored_without_a_warning(recwarn):
    called = []
    for name in ("param_callback", "param_callbacks"):
        hook = {name: lambda self, name=name: called.append(name)}
        upper_gradient(inner=type("Hooked", (Inner,), hook))
    assert set(called) == {"param_callback"} and not recwarn.list


def test_schedulers_step_at_every_micro_batch():
    inner, outer = problems(
        inner_config=Config(gradient_accumulation=2),
        scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=1),
    )
    with pytest.warns(UserWarning, match="lr_scheduler.step"):
        engine(inner, outer, train_iters=4).run()
    assert inner.scheduler.last_epoch == 4


def test_unknown_strategy_and_precision_fall_back_silently():
    inner, outer = problems(inner_config=Config(precision="fp61"))
    engine(inner, outer, strategy="distribute").run()
    assert inner.dtype is torch.float32


def test_unknown_type_is_a_bare_assertion_at_the_first_outer_step():
    inner, outer = problems(inner_config=Config(type="dart"))
    built = engine(inner, outer)
    with pytest.raises(AssertionError):
        built.run()


def test_every_step_waits_for_the_device(monkeypatch):
    calls = []
    own = Tensor.item
    monkeypatch.setattr(Tensor, "item", lambda tensor: calls.append(1) or own(tensor))
    inner, outer = problems()
    engine(inner, outer, train_iters=3).run()
    assert len(calls) >= 2 * 3


def test_engine_has_no_state_and_problems_leave_out_their_counts():
    assert not hasattr(Engine, "state_dict")
    inner, outer = problems()
    engine(inner, outer).run()
    assert set(inner.state_dict()) == {"module", "optimizer"}


def test_distributed_needs_cuda():
    source = inspect.getsource(Engine.configure_systems)
    assert "self._rank % device_count" in source and "torch.cuda.set_device" in source


def test_early_stopping_is_broken():
    inner, outer = problems()

    class Stopping(Engine):
        def validation(self):
            return {"loss": 1.0}

    dependencies = {"u2l": {outer: [inner]}, "l2u": {inner: [outer]}}
    with pytest.raises((TypeError, AttributeError, KeyError, ValueError)):
        Stopping(
            [outer, inner], EngineConfig(early_stopping=True, train_iters=2, valid_step=1), dependencies
        ).run()


def test_config_none_is_an_error():
    with pytest.raises(AttributeError, match="precision"):
        ImplicitProblem("inner", None, linear())


def test_batches_of_the_loader_are_changed_in_place():
    loader = batches()
    inner, outer = problems(loader=loader)
    before = copy.copy(loader[0])
    built = engine(inner, outer)
    inner.device = "meta"
    batch = inner.get_batch()
    assert batch is loader[0] and loader[0]["x"].device.type == "meta"
    assert before["x"].device.type == "cpu" and built is not None
