"""The stock program that agwm is compared with is what it says: Betty's own, and the official formula."""

from __future__ import annotations

import pytest
import torch

from benchmarks import bench, stock_betty


@pytest.mark.parametrize("roll_back", [False, True])
def test_stock_program_learns_weights_and_alpha_with_the_users_optimizers(roll_back):
    model = bench.SMOKE.model()
    batches = bench.SMOKE.batches(seed=1)
    engine = stock_betty.stock_engine(model, batches, batches, roll_back, lr=1e-3, outer_lr=1e-2)
    for problem in (engine.inner, engine.outer):
        assert type(problem).__module__ == stock_betty.__name__  # not adopted by agwm
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


def test_formula_written_out_is_the_factored_one():
    model = bench.SMOKE.model()
    plain = dict(bench.SMOKE.model().named_parameters())
    factors = stock_betty.mix_literally(model)
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
    assert len(stock_betty.pretrained_weights(model)) == len(factors.rows)
