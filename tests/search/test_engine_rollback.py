"""Roll-back: alpha moves, and W is the step from the old W with the new alpha."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from benchmarks import oracles
from tests.search_runs import Search, halves, tiny_classifier, vector_batches
from tests.tiny_models import tiny_bert


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_step_is_taken_again_with_the_new_alpha(optimizer):
    search = Search(optimizer=optimizer, train_iters=3, roll_back=True, hypergradient={})
    reached = []
    search.outer_optimizer.register_step_post_hook(lambda *_: search.mixup.project_())
    search.engine.outer.param_callback = lambda: reached.append(search.alpha())
    start = search.alpha()
    taken = []
    own = search.engine.inner.step_after_roll_back

    def after() -> None:
        own()
        taken.append(search.weights())

    search.engine.inner.step_after_roll_back = after
    moments = search.run()
    assert len(moments) == len(taken) == 3
    assert any(not torch.equal(start[name], factor) for name, factor in reached[0].items())
    update = oracles.sgd if optimizer is torch.optim.SGD else oracles.adam
    previous = None
    for moment, alpha, weights in zip(moments, reached, taken, strict=True):
        expected = oracles.next_weights(search.loss, moment, alpha, update)
        for name, weight in weights.items():
            if previous is not None:
                assert torch.equal(moment.before[name], previous[name])
            # keys have no bias gradient but rounding, which AdamW scales up
            torch.testing.assert_close(weight, expected[name], rtol=1e-9, atol=1e-10)
        assert oracles.relative_error(weights, moment.updated) > 0
        previous = weights
    for name, factor in search.alpha().items():
        assert torch.equal(factor, reached[-1][name])


def test_all_unrolled_steps_and_micro_batches_are_taken_again():
    """With alpha held still, a roll-back changes nothing: same batches, same masks, same rates."""
    runs = []
    for roll_back in (False, True):
        torch.manual_seed(3)
        search = Search(
            tiny_bert(dropout=0.1, dtype=torch.float64),
            train_iters=6,
            unroll_steps=3,
            gradient_accumulation=2,
            roll_back=roll_back,
            outer_lr=0.0,
            scheduler=lambda o: LambdaLR(o, lambda n: 1 / (n + 1)),
            hypergradient={"best_response": "sgd"},
        )
        search.outer_optimizer.param_groups[0]["weight_decay"] = 0.0
        search.run()
        runs.append(search)
    plain, rolled = runs
    assert plain.engine.inner.scheduler.last_epoch == rolled.engine.inner.scheduler.last_epoch == 6
    # While it looks ahead, a rolled-back run does not step its scheduler: only the last rates agree.
    assert plain.engine.inner.scheduler.get_last_lr() == rolled.engine.inner.scheduler.get_last_lr()
    assert rolled.engine.inner.count == plain.engine.inner.count == 12
    for name, weight in plain.weights().items():
        assert torch.equal(rolled.weights()[name], weight), name


def test_roll_back_is_left_out_where_alpha_is_frozen():
    calls = []
    search = Search(
        tiny_classifier(), "*weight", inner=vector_batches(2), outer=vector_batches(2), train_iters=2
    )
    assert search.engine.inner._roll_back is False
    import agwm

    mixup = agwm.inject(tiny_classifier(), include="*weight", alpha="frozen")
    optimizer = torch.optim.SGD(mixup.model.parameters(), lr=0.1)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    outer = torch.optim.SGD(mixup.attention.parameters(), lr=0.1)
    batches = vector_batches(2)
    agwm.build_engine(mixup, batches, batches, optimizer, outer, 4, roll_back=True, progress=False).run()
    assert len(calls) == 4


def test_hand_written_step():
    """One SGD step of two micro-batches, by hand."""
    large = vector_batches(1)
    search = Search(
        tiny_classifier(),
        "*weight",
        lr=0.5,
        optimizer=torch.optim.SGD,
        inner=[half for batch in large for half in halves(batch)],
        outer=vector_batches(1, seed=1),
        train_iters=1,
        gradient_accumulation=2,
        roll_back=True,
        outer_lr=0.1,
        hypergradient={"best_response": "identity"},
    )
    before = search.weights()
    (moment,) = search.run()
    weights = {name: weight.clone().requires_grad_() for name, weight in before.items()}
    loss = search.loss(weights, search.alpha(), (large[0], torch.get_rng_state()))
    gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        rate = 0.5 if weight.dim() >= 2 else 0.15
        expected = weight if gradient is None else weight - rate * gradient
        torch.testing.assert_close(search.weights()[name], expected.detach(), rtol=1e-12, atol=1e-14)
    assert oracles.relative_error(search.weights(), moment.updated) > 1e-4
