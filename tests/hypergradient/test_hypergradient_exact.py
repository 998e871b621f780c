"""What the outer optimizer sees is the exact one-step hypergradient, in float64."""

from __future__ import annotations

import pytest
import torch
from transformers import BertForMaskedLM

import agwm
from benchmarks import oracles
from tests.search_runs import Search, TinyClassifier, halves, tiny_classifier, token_batches, vector_batches
from tests.tiny_models import tiny_bert

# Measured over all cases below: at most 7e-9 (central) and 3e-6 (forward).
TOLERANCE = {"central": 5e-8, "forward": 2e-5}
SCHEMES = tuple(TOLERANCE)
ADAM = {"weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}
SGD_MODES = {
    "plain": {},
    "decayed": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.8},
    "damped": {"momentum": 0.8, "dampening": 0.3},
    "nesterov": {"momentum": 0.8, "nesterov": True},
    "maximized": {"momentum": 0.5, "maximize": True, "weight_decay": 0.1},
}


def check(search: Search, update, scheme="central", max_norm=0.0, *, at_taken=False) -> float:
    """Compare every outer step with the unrolled gradient; return the least share of the indirect term."""
    moments = search.run()
    assert len(moments) >= 3
    shares = []
    for moment in moments:
        expected = oracles.unrolled(search.loss, moment, update, max_norm, at_taken=at_taken)
        error = oracles.relative_error(moment.gradient, expected)
        assert error < TOLERANCE[scheme]
        shares.append(oracles.relative_error(oracles.direct(search.loss, moment), expected))
    return min(shares)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_sgd_response_is_the_gradient_through_one_sgd_step(scheme, dropout):
    torch.manual_seed(5)
    model = tiny_bert(dropout=dropout, dtype=torch.float64)
    search = Search(model, train_iters=3, hypergradient={"scheme": scheme, "best_response": "sgd"})
    # dropping the indirect term would be an error of 2 % or more: the check can fail
    assert check(search, oracles.plain_sgd, scheme, at_taken=True) > 0.01


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_optimizer_response_is_exact_through_adamw(scheme, dropout):
    torch.manual_seed(5)
    model = tiny_bert(dropout=dropout, dtype=torch.float64)
    search = Search(model, settings=ADAM, train_iters=4, hypergradient={"scheme": scheme})
    # Adam turns every gradient into its sign at its first step: next to nothing to differentiate.
    assert check(search, oracles.adam, scheme) > 1e-6
    last = search.moments[-1]
    expected = oracles.unrolled(search.loss, last, oracles.adam)
    assert oracles.relative_error(oracles.direct(search.loss, last), expected) > 0.05


@pytest.mark.parametrize("max_norm", [0.05, 1e3], ids=["clips", "never-clips"])
@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD])
def test_optimizer_response_goes_through_clipping(optimizer, max_norm):
    settings = {"weight_decay": 0.1} | ({"momentum": 0.9} if optimizer is torch.optim.SGD else {})
    update = oracles.sgd if optimizer is torch.optim.SGD else oracles.adam
    lr = 1.0 if optimizer is torch.optim.SGD else 0.01
    search = Search(
        lr=lr,
        optimizer=optimizer,
        settings=settings,
        train_iters=3,
        gradient_clipping=max_norm,
        hypergradient={},
    )
    check(search, update, max_norm=max_norm)
    last = search.moments[-1]
    unclipped = oracles.unrolled(search.loss, last, update)
    error = oracles.relative_error(last.gradient, unclipped)
    assert error > 1e-4 if max_norm < 1 else error < TOLERANCE["central"]


@pytest.mark.parametrize("maximize", [False, True])
def test_optimizer_response_is_exact_through_adam_with_coupled_decay(maximize):
    settings = {**ADAM, "maximize": maximize}
    check(
        Search(optimizer=torch.optim.Adam, settings=settings, train_iters=3, hypergradient={}), oracles.adam
    )


@pytest.mark.parametrize("mode", SGD_MODES)
def test_optimizer_response_is_exact_through_sgd(mode):
    options = {"settings": SGD_MODES[mode], "optimizer": torch.optim.SGD, "lr": 0.3}
    search = Search(
        tiny_classifier(),
        "*weight",
        inner=vector_batches(4),
        outer=vector_batches(4, seed=1),
        train_iters=4,
        hypergradient={},
        **options,
    )
    assert check(search, oracles.sgd) > 1e-3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_identity_response_is_the_mixed_derivative(scheme):
    torch.manual_seed(5)
    model = tiny_bert(dropout=0.1, dtype=torch.float64)
    search = Search(model, train_iters=3, hypergradient={"scheme": scheme, "best_response": "identity"})
    for moment in search.run():
        at = moment.updated if scheme == "central" else moment.before
        expected = oracles.identity(search.loss, moment, at)
        assert oracles.relative_error(moment.gradient, expected) < TOLERANCE[scheme]
        assert oracles.relative_error(oracles.direct(search.loss, moment), expected) > 0.1
        other = moment.before if scheme == "central" else moment.updated
        elsewhere = oracles.identity(search.loss, moment, other)
        assert oracles.relative_error(moment.gradient, elsewhere) > 1e-3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_last_of_three_unrolled_steps_is_differentiated(scheme):
    torch.manual_seed(5)
    model = tiny_bert(dropout=0.1, dtype=torch.float64)
    search = Search(model, train_iters=9, unroll_steps=3, hypergradient={"scheme": scheme})
    check(search, oracles.adam, scheme)
    assert len(search.moments) == 3


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("best_response", ["optimizer", "sgd", "identity"])
def test_accumulated_batches_count_as_one_large_batch(scheme, best_response):
    # without padding, so that both halves weigh the same
    large = [{k: v for k, v in b.items() if k != "attention_mask"} for b in token_batches(3)]
    small = [half for batch in large for half in halves(batch)]
    settings = {"scheme": scheme, "best_response": best_response}
    one = Search(inner=large, train_iters=3, hypergradient=settings)
    two = Search(inner=small, train_iters=3, gradient_accumulation=2, hypergradient=settings)
    for a, b in zip(one.run(), two.run(), strict=True):
        assert oracles.relative_error(b.gradient, a.gradient) < TOLERANCE[scheme]
    for name, weight in one.weights().items():
        torch.testing.assert_close(two.weights()[name], weight, rtol=1e-6, atol=1e-9)


def test_accumulated_batches_keep_their_own_masks():
    torch.manual_seed(5)
    model = tiny_bert(dropout=0.1, dtype=torch.float64)
    check(Search(model, train_iters=3, gradient_accumulation=2, hypergradient={}), oracles.adam)


def test_independent_masks_would_fail():
    torch.manual_seed(5)
    search = Search(
        tiny_bert(dropout=0.1, dtype=torch.float64), train_iters=3, hypergradient={"best_response": "sgd"}
    )
    for moment in search.run():
        state = torch.Generator().manual_seed(1).get_state()
        moment.inner = [(batch, state) for batch, _ in moment.inner]
        other = oracles.unrolled(search.loss, moment, oracles.plain_sgd, at_taken=True)
        assert oracles.relative_error(moment.gradient, other) > 100 * TOLERANCE["central"]


def test_unused_and_frozen_parameters():
    model = tiny_classifier(dropout=0.2)
    assert isinstance(model, TinyClassifier)
    for scheme in SCHEMES:
        search = Search(
            tiny_classifier(dropout=0.2),
            "*weight",
            inner=vector_batches(4),
            outer=vector_batches(4, seed=1),
            train_iters=4,
            hypergradient={"scheme": scheme},
        )
        assert "unused" in search.weights() and "frozen" not in search.weights()
        check(search, oracles.adam, scheme)
        assert torch.equal(search.model.unused, torch.ones(4, dtype=torch.float64))


def test_tied_and_mixed_embedding():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForMaskedLM(tiny_bert(dropout=0.0).config).double().train()
    batches = [{**batch, "labels": batch["input_ids"].roll(1, dims=1)} for batch in token_batches(6)]
    settings = {"best_response": "sgd"}
    search = Search(
        model, include="*", inner=batches[:3], outer=batches[3:], train_iters=3, hypergradient=settings
    )
    assert model.cls.predictions.decoder.weight.shape == model.bert.embeddings.word_embeddings.weight.shape
    assert "bert.embeddings.word_embeddings.weight" in search.mixup.names
    assert "cls.predictions.decoder.weight" not in search.weights()
    check(search, oracles.plain_sgd, at_taken=True)


def test_absent_embedding_rows_do_not_spoil_epsilon():
    inner = [{**b, "input_ids": b["input_ids"].clamp(max=8)} for b in token_batches(4)]
    search = Search(inner=inner, train_iters=4, hypergradient={})
    check(search, oracles.adam)
    rows = search.last.before["bert.embeddings.word_embeddings.weight"] - search.last.updated[
        "bert.embeddings.word_embeddings.weight"
    ] * (1 / (1 - 0.01 * 0.01))
    assert rows[20:].abs().max() < 1e-12 < rows[5:9].abs().min()


@pytest.mark.parametrize("epsilon", [1e-3, 1e-4])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_error_follows_epsilon(scheme, epsilon):
    """Halving epsilon quarters the error of the central scheme and halves that of the forward one."""

    def error(size: float) -> float:
        settings = {"scheme": scheme, "best_response": "sgd", "epsilon": size}
        search = Search(train_iters=1, hypergradient=settings)
        (moment,) = search.run()
        expected = oracles.unrolled(search.loss, moment, oracles.plain_sgd, at_taken=True)
        return oracles.relative_error(moment.gradient, expected)

    ratio = error(2 * epsilon) / error(epsilon)
    assert ratio == pytest.approx(4 if scheme == "central" else 2, rel=0.05)


def test_first_order_is_the_direct_term_alone():
    torch.manual_seed(5)
    search = Search(
        tiny_bert(dropout=0.1, dtype=torch.float64), train_iters=3, hypergradient={"order": "first"}
    )
    twin = Search(
        tiny_bert(dropout=0.1, dtype=torch.float64), train_iters=1, hypergradient={"order": "first"}
    )
    for moment in search.run():
        expected = oracles.direct(search.loss, moment)
        # the fused attention kernel and the reference's differ in the last bits
        assert oracles.relative_error(moment.gradient, expected) < 1e-13
    for name, parameter in twin.model.named_parameters():
        parameter.data.copy_(moment.updated[name])
    for name, parameter in twin.mixup.attention.named_parameters():
        parameter.data.copy_(moment.alpha[name])
    batch, state = moment.outer
    torch.set_rng_state(state)
    loss = twin.model(**batch).loss
    gradients = torch.autograd.grad(loss, list(twin.mixup.attention.parameters()))
    for expected, actual in zip(gradients, moment.gradient.values(), strict=True):
        assert torch.equal(actual, expected)


def test_oracle_optimizers_are_those_of_torch():
    cases = [
        (torch.optim.AdamW, oracles.adam, ADAM),
        (torch.optim.Adam, oracles.adam, {**ADAM, "maximize": True}),
        *((torch.optim.SGD, oracles.sgd, mode) for mode in SGD_MODES.values()),
    ]
    for optimizer, update, settings in cases:
        search = Search(
            optimizer=optimizer, settings=settings, train_iters=3, gradient_clipping=0.1, hypergradient={}
        )
        for moment in search.run():
            reached = oracles.next_weights(search.loss, moment, moment.alpha, update, 0.1)
            for name, weight in reached.items():
                torch.testing.assert_close(weight, moment.updated[name], rtol=1e-10, atol=1e-12)
                assert "unused" in name or not torch.equal(weight, moment.before[name])


def test_convex_formula_needs_no_package_in_the_oracle():
    """The reference's own mixing gives the loss of the injected model."""
    search = Search(train_iters=1)
    (batch,) = token_batches(1, seed=4)
    for parameter in search.model.parameters():
        parameter.data.add_(0.05)
    expected = search.loss(search.weights(), search.alpha(), (batch, torch.get_rng_state()))
    torch.testing.assert_close(search.model(**batch).loss, expected, rtol=1e-12, atol=0)
    assert agwm.mixup_of(search.model) is search.mixup
