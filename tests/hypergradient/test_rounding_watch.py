"""A finite difference that is mostly rounding says so once; none that is sound, or rightly zero, does."""

from __future__ import annotations

import warnings

import pytest
import torch

import agwm
from agwm.errors import AgwmWarning
from agwm.hypergradient.rounding import rounding_units
from tests.betty_programs import Inner, engine, problems
from tests.search_runs import Search, token_batches
from tests.tiny_models import tiny_bert


def run(epsilon=None, scheme="central", inner=Inner, train_iters=4):
    config = agwm.HypergradientConfig(hypergradient={"epsilon": epsilon, "scheme": scheme})
    engine(*problems(inner_config=config, inner=inner), train_iters=train_iters).run()


@pytest.mark.parametrize("scheme", ["central", "forward"])
def test_an_epsilon_that_is_too_small_is_one_warning(scheme):
    with pytest.warns(AgwmWarning) as caught:
        run(2e-16, scheme)
    (warning,) = caught
    assert "mostly rounding" in str(warning.message) and "hypergradient.epsilon" in str(warning.message)


@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize("best_response", ["identity", "sgd", "optimizer"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_default_epsilon_is_no_warning(scheme, best_response, precision):
    search = Search(
        tiny_bert(dropout=0.1),
        lr=1e-3,
        inner=token_batches(4, size=16),
        outer=token_batches(4, size=16, seed=1),
        train_iters=4,
        precision=precision,
        hypergradient={"scheme": scheme, "best_response": best_response},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search.run()


def test_a_term_that_is_rightly_zero_is_no_warning():
    class Apart(Inner):
        def training_step(self, batch):
            fits = torch.nn.functional.binary_cross_entropy_with_logits(
                self.module(batch["x"]).squeeze(1), batch["y"]
            )
            return fits + (self.outer.module.rate**2).sum()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(inner=Apart)


def test_units_count_only_what_differs():
    unit = torch.finfo(torch.float32).eps
    low = torch.tensor([1.0, 1e6])
    high = torch.tensor([1.0 + 4 * unit, 1e6])
    assert rounding_units([high], [low], torch.float32) == pytest.approx(4.0, rel=1e-3)
    assert rounding_units([high, low], [high, low], torch.float32) == float("inf")
    assert rounding_units([high * float("nan")], [low], torch.float32) == float("inf")
