"""What an engine tells of its search: losses, rates, norms of both terms, mean and spread of alpha."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agwm.errors import ConfigError
from agwm.search.measures import alpha_by_weight, numbers_of
from tests.search_runs import Search, tiny_classifier, vector_batches

NUMBERS = {
    "inner_loss", "outer_loss", "inner_rate", "outer_rate", "direct_norm", "indirect_norm", "alpha_mean",
    "alpha_std",
}  # fmt: skip


def small(**options) -> Search:
    given = {"inner": vector_batches(3), "outer": vector_batches(2), "train_iters": 5, **options}
    return Search(tiny_classifier(), "*weight", **given)


def norm(tensors) -> float:
    return float(torch.stack([tensor.double().square().sum() for tensor in tensors]).sum().sqrt())


def test_numbers_are_those_of_the_last_step():
    """Against what the problems hold: ``.grad`` of alpha is the whole hypergradient after the step."""
    seen = []
    search = small(log=lambda step, numbers: seen.append((step, dict(numbers))), log_step=1)
    search.run()
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5]
    last, engine = seen[-1][1], search.engine
    whole = [
        alpha.detach().reshape(-1).double() for alpha in engine.inner.mixup.attention.in_full().values()
    ]
    assert last["alpha_mean"] == pytest.approx(float(torch.cat(whole).mean()), abs=1e-12)
    assert last["alpha_std"] == pytest.approx(float(torch.cat(whole).std(correction=0)), abs=1e-12)
    assert last["inner_loss"] == float(engine.inner.last_loss)
    assert last["outer_loss"] == float(engine.outer.last_loss)
    assert last["inner_rate"] == engine.inner.optimizer.param_groups[0]["lr"]
    assert last["direct_norm"] > 0 and last["indirect_norm"] > 0
    gradient = norm(search.moments[-1].gradient.values())
    largest = last["direct_norm"] + last["indirect_norm"]
    assert abs(last["direct_norm"] - last["indirect_norm"]) - 1e-6 <= gradient <= largest + 1e-6
    for name, alpha in engine.inner.mixup.attention.in_full().items():
        assert last[f"alpha_mean_of/{name}"] == pytest.approx(float(alpha.double().mean()), abs=1e-12)
        assert last[f"alpha_std_of/{name}"] == pytest.approx(
            float(alpha.double().std(correction=0)), abs=1e-12
        )


def test_direct_norm_alone_is_the_gradient_of_the_first_order():
    seen = []
    search = small(
        log=lambda step, numbers: seen.append(numbers), log_step=1, hypergradient={"order": "first"}
    )
    search.run()
    assert "indirect_norm" not in seen[-1]
    assert seen[-1]["direct_norm"] == pytest.approx(norm(search.moments[-1].gradient.values()), rel=1e-6)


def test_calls_every_so_many_steps_and_at_the_end():
    for gas in (1, 2):
        seen = []
        search = small(log=lambda step, _: seen.append(step), log_step=2, gradient_accumulation=gas)  # noqa: B023
        search.run()
        assert seen == [2, 4, 5]


def test_looking_changes_nothing():
    runs = [small(), small(log=lambda step, numbers: None, log_step=1, valid_step=1)]
    for search in runs:
        search.run()
    for name, weight in runs[0].weights().items():
        assert torch.equal(weight, runs[1].weights()[name]), name
    for name, factor in runs[0].alpha().items():
        assert torch.equal(factor, runs[1].alpha()[name]), name


def test_history_is_never_empty():
    search = small(valid_step=500)
    search.run()
    (record,) = search.engine.history
    assert record["step"] == 5 and NUMBERS < set(record)
    assert not any("/" in name for name in record)  # alpha by weight goes to the log alone
    several = small(valid_step=2)
    several.run()
    assert [record["step"] for record in several.engine.history] == [2, 4]


def test_before_the_first_step_there_are_rates_and_alpha():
    engine = small().engine
    assert set(numbers_of(engine.inner, engine.outer)) == {
        "inner_rate", "outer_rate", "alpha_mean", "alpha_std",
    }  # fmt: skip
    values = list(alpha_by_weight(engine.inner.mixup.attention).values())
    assert np.isfinite(values).all()


def test_resumed_run_records_the_outer_step_before_the_checkpoint(tmp_path):
    """At step 5 the last outer step is that of step 4, which the resumed engine has not taken."""
    file, options = tmp_path / "state", {"unroll_steps": 4, "train_iters": 5, "valid_step": 1}
    whole = small(**options)
    whole.run()
    small(**options | {"train_iters": 4}, checkpoint=file, checkpoint_step=4).run()
    resumed = small(**options)
    resumed.engine.resume(file)
    resumed.run()
    assert resumed.engine.history == whole.engine.history
    assert "outer_loss" in whole.engine.history[-1]


def test_log_step_is_checked():
    with pytest.raises(ConfigError, match="log_step"):
        small(log=print, log_step=0)
