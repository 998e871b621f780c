"""Gradient scaling: what leaves it is the unscaled hypergradient, and an overflow spoils nothing.

Scaling is for CUDA, where Betty makes the scaler. Here the scaler of a CPU takes its place, so that all
that is ours runs: the scaled passes, the unscaling, and the steps that are skipped.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import agwm
from agwm.errors import ConfigError, HypergradientError
from benchmarks import oracles
from tests.search_runs import Search, tiny_classifier, token_batches, vector_batches
from tests.tiny_models import tiny_bert

OVERFLOW = 2.0**30  # no gradient of a model in float16 survives it


def scaled(
    inner_scale: float | None, outer_scale: float | None, dtype: torch.dtype | None = None, **options: Any
) -> Search:
    """Return a search with a scaler in each problem; with a dtype, under autocast to it."""
    settings = {"lr": 1e-3, "train_iters": 3, "hypergradient": {"best_response": "sgd"}}
    model = options.pop("model", None) or tiny_bert(dropout=0.1, num_layers=1)
    search = Search(model, **(settings | options))
    engine = search.engine
    for problem, scale in ((engine.inner, inner_scale), (engine.outer, outer_scale)):
        if scale is not None:
            problem.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        if dtype is not None:
            problem.precision, problem.dtype = "fp16", dtype
    return search


def run(search: Search) -> list[oracles.Moment]:
    torch.manual_seed(4)
    return search.run()


def check_equal(one: Search, other: Search) -> None:
    for a, b in zip(run(one), run(other), strict=True):
        for name, gradient in a.gradient.items():
            assert torch.equal(b.gradient[name], gradient)
    for name, weight in one.weights().items():
        assert torch.equal(other.weights()[name], weight)
    for name, factor in one.alpha().items():
        assert torch.equal(other.alpha()[name], factor)


# Without a difference nothing is responded to.
@pytest.mark.parametrize(
    ("settings", "best_response"),
    [
        *(
            ({"scheme": scheme}, best_response)
            for scheme in ("central", "forward", "explicit")
            for best_response in ("identity", "sgd", "optimizer")
        ),
        ({"order": "first"}, "sgd"),
    ],
)
def test_power_of_two_scales_change_no_bit(settings, best_response):
    options = {
        "hypergradient": {**settings, "best_response": best_response},
        "gradient_clipping": 0.5,
        "gradient_accumulation": 2,
    }
    check_equal(scaled(None, None, **options), scaled(2.0**10, 2.0**7, **options))


def test_scale_of_the_inner_problem_may_grow_before_the_difference():
    check_equal(scaled(None, None), grown := scaled(1.0, 1.0))
    assert grown.engine.inner.scaler.get_scale() == 1.0
    grown = scaled(1.0, 1.0, hypergradient={"scheme": "forward"})
    grown.engine.inner.scaler.set_growth_interval(1)
    check_equal(scaled(None, None, hypergradient={"scheme": "forward"}), grown)
    assert grown.engine.inner.scaler.get_scale() == 8.0


def test_other_scales_change_rounding_alone():
    moments = (
        run(scaled(*scales, model=tiny_bert(dropout=0.1, dtype=torch.float64)))
        for scales in ((None, None), (1000.0, 3.0))
    )
    for one, other in zip(*moments, strict=True):
        assert oracles.relative_error(other.gradient, one.gradient) < 1e-7


def test_float16_gradient_is_close_to_float32():
    options = {
        "inner": token_batches(3, size=16),
        "outer": token_batches(3, size=16, seed=1),
        "hypergradient": {"best_response": "identity"},
        "train_iters": 1,
    }
    (single,) = scaled(None, None, model=tiny_bert(dropout=0.0), **options).run()
    (half,) = scaled(4096.0, 4096.0, torch.float16, model=tiny_bert(dropout=0.0), **options).run()
    (twice,) = scaled(2048.0, 8192.0, torch.float16, model=tiny_bert(dropout=0.0), **options).run()
    # float16 has 11 bits: 0.05 % a number
    assert 1e-6 < oracles.relative_error(half.gradient, single.gradient) < 0.02
    assert oracles.relative_error(twice.gradient, half.gradient) < 0.02
    assert all(weight.dtype == torch.float32 for weight in half.updated.values())


@pytest.mark.parametrize("scheme", ["central", "forward", "explicit"])
@pytest.mark.parametrize("best_response", ["identity", "optimizer"])
def test_skipped_inner_step_has_no_indirect_term(scheme, best_response):
    settings = {"scheme": scheme, "best_response": best_response}
    search = scaled(OVERFLOW, 1024.0, torch.float16, hypergradient=settings, train_iters=1)
    before = search.weights()
    pre = []
    search.outer_optimizer.register_step_pre_hook(
        lambda *_: pre.append({n: p.grad.clone() for n, p in search.mixup.attention.named_parameters()})
    )
    search.last = oracles.Moment({}, before, {}, [])  # no inner step comes to the watch
    run(search)
    for name, weight in search.weights().items():
        assert torch.equal(weight, before[name])
    assert search.engine.inner.scaler.get_scale() == OVERFLOW / 2
    twin = scaled(OVERFLOW, 1024.0, torch.float16, hypergradient={"order": "first"}, train_iters=1)
    twin.last = oracles.Moment({}, before, {}, [])
    run(twin)
    assert len(pre) == 1
    for name, gradient in twin.moments[0].gradient.items():
        assert gradient.isfinite().all() and torch.equal(pre[0][name], gradient)


def test_outer_overflow_skips_the_outer_step_alone():
    search = scaled(1024.0, OVERFLOW, torch.float16, train_iters=2)
    calls = []
    own = search.engine.inner.training_step
    search.engine.inner.training_step = lambda batch: calls.append(1) or own(batch)
    before, alpha = search.weights(), search.alpha()
    assert run(search) == []
    assert len(calls) == 2, "passes of a difference along what is not finite"
    for name, factor in search.alpha().items():
        assert torch.equal(factor, alpha[name])
    for name, weight in search.weights().items():
        assert weight.isfinite().all() and not torch.equal(weight, before[name])
    assert search.engine.outer.scaler.get_scale() == OVERFLOW / 4


@pytest.mark.parametrize("scheme", ["central", "forward"])
def test_overflow_in_the_difference_skips_the_outer_step_alone(scheme):
    search = scaled(1024.0, 1024.0, train_iters=1, hypergradient={"scheme": scheme})
    calls = []
    own = search.engine.inner.training_step
    search.engine.inner.training_step = lambda batch: (
        calls.append(1) or own(batch) * (1.0 if len(calls) == 1 else float("inf"))
    )
    before, alpha = search.weights(), search.alpha()
    assert run(search) == [] and len(calls) == (3 if scheme == "central" else 2)
    for name, factor in search.alpha().items():
        assert torch.equal(factor, alpha[name])
    for name, weight in search.weights().items():
        assert torch.equal(weight, search.last.updated[name]) and not torch.equal(weight, before[name])


def test_search_recovers_from_overflow():
    search = scaled(OVERFLOW, OVERFLOW, torch.float16, train_iters=40)
    search.last = oracles.Moment({}, search.weights(), {}, [])
    alpha, before = search.alpha(), search.weights()
    run(search)
    assert 0 < len(search.moments) < 40
    assert all(g.isfinite().all() for m in search.moments for g in m.gradient.values())
    for values, start in ((search.alpha(), alpha), (search.weights(), before)):
        assert all(value.isfinite().all() for value in values.values())
        assert any(not torch.equal(value, start[name]) for name, value in values.items())


def test_not_finite_without_a_scaler_of_the_outer_problem_is_an_error():
    search = scaled(1024.0, None, train_iters=1)
    search.engine.outer.training_step = lambda batch: search.model(**batch).loss * float("inf")
    with pytest.raises(HypergradientError, match="not finite at inner step 1"):
        run(search)


def test_float16_on_a_cpu_is_refused_before_training():
    mixup = agwm.inject(tiny_classifier(), include="*weight")

    def problem(kind: type, parameters: Any, **config: Any) -> Any:
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        return kind(mixup, vector_batches(1), optimizer, config=agwm.HypergradientConfig(**config))

    half, single = {"precision": "fp16"}, {}
    for inner, outer in ((half, single), (single, half)):
        with pytest.raises(ConfigError, match=r"fp16.*CUDA device, got 'cpu'.*bf16"):
            agwm.MixupEngine(
                problem(agwm.TaskWeightProblem, mixup.model.parameters(), **inner),
                problem(agwm.AttentionProblem, mixup.attention.parameters(), **outer),
            )


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*GradScaler:FutureWarning")
@pytest.mark.parametrize(("precision", "limit"), [("fp16", 0.02), ("bf16", 0.1)])
def test_half_precision_on_cuda(precision, limit):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    moments = []
    for each in ("fp32", precision):
        torch.manual_seed(4)
        search = Search(
            tiny_bert(dropout=0.0).cuda(),
            lr=1e-3,
            inner=token_batches(3, size=16),
            outer=token_batches(3, size=16, seed=1),
            train_iters=1,
            precision=each,
            hypergradient={"best_response": "identity"},
        )
        moments += search.run()
    assert (search.engine.inner.scaler is not None) == (precision == "fp16")
    assert oracles.relative_error(moments[1].gradient, moments[0].gradient) < limit
