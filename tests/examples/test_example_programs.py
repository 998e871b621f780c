"""The Betty programs in examples/betty: our type is right where stock darts is not."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from betty.configs import Config

import agwm
from agwm.hypergradient._betty import quiet_betty
from agwm.hypergradient.mended_problem import MendedProblem

FOLDER = Path(__file__).parents[2] / "examples" / "betty"
PROGRAMS = ("logistic_hyperparameters", "data_reweighting")


@pytest.fixture
def program(request, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    with torch.random.fork_rng(devices=[]), quiet_betty():
        yield importlib.import_module(request.param)


def each(*names: str):
    return pytest.mark.parametrize("program", names, indirect=True)


def ours(**settings: object) -> Config:
    return agwm.HypergradientConfig(hypergradient=settings)


@each("logistic_hyperparameters")
def test_closed_forms_are_the_derivatives(program):
    """The step by central differences of the step itself; the optimum by solving for it again."""
    engine = program.build(Config(type="agwm"), "Adam", 0, 6)
    seen = []

    def compare(moment):
        exact = program.through_step(engine, "Adam", moment).flatten()
        log = engine.rates.module.log

        def held_out(shift):
            weight = moment.weights[0].clone().requires_grad_()
            inputs, labels = moment.inner_batch
            loss = torch.nn.functional.binary_cross_entropy_with_logits(inputs @ weight.squeeze(0), labels)
            loss = loss + ((log.detach() + shift).exp() * weight**2).sum() / 2
            (weight.grad,) = torch.autograd.grad(loss, weight)
            optimizer = torch.optim.Adam([weight], lr=program.LR)
            optimizer.state[weight] = {k: v.clone() for k, v in moment.states[0].items()}
            optimizer.step()
            inputs, labels = moment.outer_batch
            logits = inputs @ weight.detach().squeeze(0)
            return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)

        shifts = 1e-5 * torch.eye(len(exact), dtype=torch.float64)
        slow = torch.stack([(held_out(shift) - held_out(-shift)) / 2e-5 for shift in shifts])
        if moment.states[0]:  # the derivative of Adam's first step all but vanishes
            assert exact.norm() > 0
            torch.testing.assert_close(exact, slow, rtol=1e-5, atol=1e-5 * float(exact.norm()))
            seen.append(slow)
        return exact

    importlib.import_module("comparison").Watch(engine.weights, engine.rates, compare)
    engine.run()
    assert len(seen) == 5


@each("logistic_hyperparameters")
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_logistic_hyperparameters(program, optimizer):
    central, _, _ = program.run(Config(type="agwm"), optimizer, seed=0, steps=12)
    forward, _, _ = program.run(ours(scheme="forward"), optimizer, seed=0, steps=12)
    stock, _, _ = program.run(Config(type="darts"), optimizer, seed=0, steps=12)
    assert len(central.errors) == len(stock.errors) == 12
    assert max(central.errors[1:]) < 1e-7 and min(central.cosines[1:]) > 1 - 1e-12
    assert max(forward.errors[1:]) < 1e-4
    # fails the day that darts multiplies by the inner step's derivative
    assert min(stock.errors) > 0.3
    if optimizer == "SGD":
        sgd, _, _ = program.run(ours(best_response="sgd"), optimizer, seed=0, steps=12)
        assert sgd.errors == central.errors
        identity, _, _ = program.run(ours(best_response="identity", scheme="forward"), optimizer, 0, 12)
        # darts' missing learning rate: 1 / 0.1 times too long
        assert identity.errors == pytest.approx([9.0] * 12, abs=1e-3)


@each("data_reweighting")
def test_data_reweighting(program):
    central, auc, accuracy = program.run(Config(type="agwm"), seed=0, steps=60)
    forward, _, _ = program.run(ours(scheme="forward"), seed=0, steps=30)
    stock, stock_auc, _ = program.run(Config(type="darts"), seed=0, steps=60)
    identity, _, _ = program.run(ours(best_response="identity"), seed=0, steps=30)
    assert min(central.cosines) > 0.9999 and central.error < 2e-3
    assert forward.cosine > 0.999 and forward.error < 5e-2
    # the formula of darts without the noise: direction right, scale not
    assert identity.cosine > 0.99 and identity.error > 1.0
    # fails the day that darts replays the dropout masks
    assert stock.cosine < 0.5 and stock.error > 1.0
    assert auc > max(0.7, stock_auc) and accuracy > 0.5


@each("data_reweighting")
def test_the_exact_hypergradient_reaches_the_weights_that_the_step_reached(program):
    """With dropout in other masks than the step's it would not."""
    _, clean, _, _ = parts = program.draw(0)
    engine = program.build(Config(type="darts"), parts[:2], 0, 3)
    reached = []

    def check(moment):
        names = [name for name, _ in engine.network.module.named_parameters()]
        inputs, labels, index = moment.inner_batch
        torch.set_rng_state(moment.masks[0])
        before = {n: w.requires_grad_() for n, w in zip(names, moment.weights, strict=True)}
        logits = torch.func.functional_call(engine.network.module, before, (inputs,))
        losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        loss = (torch.sigmoid(engine.weights.module.logits.detach()[index]) * losses).mean()
        for weight, gradient in zip(
            before.values(), torch.autograd.grad(loss, before.values()), strict=True
        ):
            reached.append(weight.detach() - program.LR * gradient)
        own = [w.detach() for w in engine.network.module.parameters()]
        torch.testing.assert_close(reached[-len(own) :], own)
        return program.double_backward(engine, moment)

    importlib.import_module("comparison").Watch(engine.network, engine.weights, check)
    engine.run()
    assert len(reached) == 3 * 4 and len(clean) == program.CLEAN
    assert not isinstance(engine.network, MendedProblem)  # stock, though agwm is imported


@each(*PROGRAMS)
def test_table_is_printed_and_written_between_its_markers(program, capsys, tmp_path, monkeypatch):
    name = program.__name__
    monkeypatch.setattr(program, "RUNS", 1, raising=False)
    page = tmp_path / "page.md"
    page.write_text(f"above\n<!-- {name}:begin -->\nold\n<!-- {name}:end -->\nbelow\n", encoding="utf-8")
    assert program.main(["--steps", "4", "--seed", "3", "--write", str(page)]) == 0
    printed = capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert text == f"above\n<!-- {name}:begin -->\n{printed}<!-- {name}:end -->\nbelow\n"
    assert "| darts (stock) |" in printed and "| agwm " in printed and "nan" not in printed
    assert f"{name}.py --seed 3 --steps 4`" in printed and "Multilevel" not in printed


@each(*PROGRAMS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "--steps is out of range"),
        (["--steps", "many"], "invalid int value"),
        (["--seed", "-1"], "--seed is out of range"),
        (["--step", "5"], "Did you mean '--steps'?"),
    ],
)
def test_bad_flag_is_one_line(program, arguments, message, capsys):
    assert program.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and message in captured.err
    assert captured.err.count("\n") == 1


@each("logistic_hyperparameters")
def test_page_without_markers_is_one_line_and_left_alone(program, capsys, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- logistic_hyperparameters:begin -->\n", encoding="utf-8")
    assert program.main(["--steps", "2", "--write", str(page)]) == 2
    assert "Nowhere to write" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == "<!-- logistic_hyperparameters:begin -->\n"
    assert program.main(["--steps", "2", "--write", str(tmp_path / "none.md")]) == 2


def test_tables_of_the_page_are_filled():
    text = (FOLDER.parents[1] / "docs" / "betty_plugin.md").read_text(encoding="utf-8")
    for name in PROGRAMS:
        table = text.split(f"<!-- {name}:begin -->")[1].split(f"<!-- {name}:end -->")[0]
        assert f"`python examples/betty/{name}.py --seed " in table and table.count("\n| ") > 4
