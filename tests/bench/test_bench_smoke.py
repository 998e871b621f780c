"""The benchmark runs on a tiny model and counts the passes that each search iteration takes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from agwm.errors import ConfigError
from agwm.storage import read_json

FOLDER = Path(__file__).parents[2] / "benchmarks"
PASSES = {
    "vanilla step": (1, 1),
    "plain forward and backward": (1, 1),
    "agwm, forward scheme": (3, 3),
    "agwm, central scheme": (4, 4),
    "agwm, first order": (2, 2),
    "stock Betty, darts": (4, 5),
    "stock Betty, darts, roll-back": (5, 6),
    "injected, convex, forward and backward": (1, 1),
    "injected, factored, forward and backward": (1, 1),
    "formula written out, forward and backward": (1, 1),
}


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import bench

    return bench


@pytest.fixture
def stock(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import stock_betty

    return stock_betty


def test_smoke(bench, tmp_path, capsys):
    result = bench.main(["--smoke", "--repeats", "3", "--out", str(tmp_path / "bench")])
    assert read_json(tmp_path / "bench" / "search_step.json") == result
    records = {record["name"]: record for record in result["records"]}
    assert {n: (r["forward_passes"], r["backward_passes"]) for n, r in records.items()} == PASSES
    for record in records.values():
        assert len(record["all_seconds"]) == 3 and record["ratio_to"] in PASSES
        for figure in ("seconds", "ratio"):
            quartiles = record[figure]
            assert 0 < quartiles["q1"] <= quartiles["median"] <= quartiles["q3"] < math.inf
    for name in ("vanilla step", "plain forward and backward"):
        assert records[name]["ratio"] == {"q1": 1.0, "median": 1.0, "q3": 1.0}
    page = (tmp_path / "bench" / "search_step.md").read_text(encoding="utf-8")
    assert all(page.count(f"| {name} |") >= 1 for name in PASSES)
    assert torch.__version__ in page and result["command"] in page and str(tmp_path) not in page
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--layers", "0"], "--layers"), (["--repeats", "0"], "--repeats"), (["--hidden", "7"], "--heads")],
)
def test_bad_option_is_named_and_nothing_is_written(bench, arguments, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        bench.main(["--smoke", *arguments, "--out", str(tmp_path / "bench")])
    assert not (tmp_path / "bench").exists()


@pytest.mark.parametrize("roll_back", [False, True])
def test_stock_program_learns_weights_and_alpha_with_the_users_optimizers(bench, stock, roll_back):
    model = bench.SMOKE.model()
    batches = bench.SMOKE.batches(seed=1)
    engine = stock.stock_engine(model, batches, batches, roll_back, lr=1e-3, outer_lr=1e-2)
    for problem in (engine.inner, engine.outer):
        assert type(problem).__module__ == "stock_betty"  # not adopted by agwm
        assert type(problem.optimizer) is torch.optim.AdamW
    before = {
        name: [p.detach().clone() for p in getattr(engine, name).module.parameters()]
        for name in ("inner", "outer")
    }
    for _ in range(2):
        engine.train_step()
    for name, old in before.items():
        new = list(getattr(engine, name).module.parameters())
        assert all(torch.isfinite(p).all() for p in new)
        assert sum(not torch.equal(a, b) for a, b in zip(old, new, strict=True)) > len(new) / 2
    assert all(0 <= p.min() and p.max() <= 1 for p in engine.outer.module.parameters())


def test_formula_written_out_is_the_factored_one(bench, stock):
    model = bench.SMOKE.model()
    plain = dict(bench.SMOKE.model().named_parameters())
    factors = stock.mix_literally(model)
    name = "bert.encoder.layer.0.attention.self.query"
    module = model.get_submodule(name)
    a, b = module.parametrizations.weight[0].pair
    with torch.no_grad():
        a.fill_(0.75)
        b.fill_(0.5)
        module.parametrizations.weight.original.mul_(3.0)
        # 0.75 * 0.5 * 3 W0 + 0.25 * 0.5 * W0
        torch.testing.assert_close(module.weight, 1.25 * plain[f"{name}.weight"])
    assert any(a is parameter for parameter in factors.parameters())
    assert not any(a is parameter for parameter in model.parameters())
