"""The scheme ``explicit``: the mixed derivative with the gradient by the mixed weights held fixed."""

from __future__ import annotations

import pytest
import torch
from transformers import BertForMaskedLM

import agwm
from agwm.errors import ConfigError, HypergradientError
from agwm.mixing.alpha import ALPHA_FORMS
from agwm.mixing.functions import mix_weights
from benchmarks import oracles
from tests.betty_programs import engine, problems
from tests.search_runs import Search, halves, token_batches
from tests.tiny_models import tiny_bert

EXPLICIT = {"scheme": "explicit"}
ADAM = {"weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}
SGD = {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}


def check(search: Search, update, max_norm: float = 0.0, **options) -> None:
    """Compare every outer step with the oracle; at the last the part must be there, and not be all."""
    moments = search.run()
    assert len(moments) >= 3
    for moment in moments:
        pretrained = dict(search.mixup.pretrained.items())
        expected = oracles.explicit(search.loss, moment, update, pretrained, max_norm, **options)
        assert oracles.relative_error(moment.gradient, expected) < 1e-10
    exact = oracles.unrolled(search.loss, moment, update, max_norm, **options)
    direct = oracles.direct(search.loss, moment)
    assert oracles.relative_error(expected, exact) > 1e-4  # the rest is not zero: the check can fail
    assert oracles.relative_error(direct, expected) > 1e-3


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_through_adamw(dropout):
    torch.manual_seed(5)
    model = tiny_bert(dropout=dropout, dtype=torch.float64)
    check(Search(model, settings=ADAM, train_iters=4, hypergradient=EXPLICIT), oracles.adam)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_through_other_optimizers(optimizer):
    settings, update, lr = (ADAM, oracles.adam, 0.01)
    if optimizer is torch.optim.SGD:
        settings, update, lr = (SGD, oracles.sgd, 0.3)
    options = {"optimizer": optimizer, "settings": settings, "lr": lr}
    check(Search(train_iters=4, hypergradient=EXPLICIT, **options), update)


def test_through_clipping():
    search = Search(train_iters=4, gradient_clipping=0.05, hypergradient=EXPLICIT, settings=ADAM)
    check(search, oracles.adam, 0.05)


def test_of_the_paper_s_response():
    search = Search(train_iters=3, hypergradient={**EXPLICIT, "best_response": "sgd"}, lr=0.3)
    check(search, oracles.plain_sgd, at_taken=True)


def test_with_gradient_accumulation():
    inner = [half for batch in token_batches(4) for half in halves(batch)]
    check(
        Search(inner=inner, train_iters=8, gradient_accumulation=2, settings=ADAM, hypergradient=EXPLICIT),
        oracles.adam,
    )


def masked_model():
    """A masked language model, whose decoder reads the mixed embedding a second time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BertForMaskedLM(tiny_bert(dropout=0.0).config).double().train()


@pytest.mark.parametrize("is_checkpointed", [False, True])
def test_where_weights_are_read_twice_and_layers_are_recomputed(is_checkpointed):
    model = masked_model()
    batches = [{**batch, "labels": batch["input_ids"].roll(1, dims=1)} for batch in token_batches(6)]
    options = {"best_response": "sgd", **EXPLICIT}
    search = Search(
        model,
        include="*",
        inner=batches[:3],
        outer=batches[3:],
        train_iters=3,
        hypergradient=options,
        lr=0.3,
    )
    assert "bert.embeddings.word_embeddings.weight" in search.mixup.names
    if is_checkpointed:  # of the model alone: the oracle has a copy
        model.gradient_checkpointing_enable({"use_reentrant": False})
    check(search, oracles.plain_sgd, at_taken=True)


def windows(search: Search) -> list[list[oracles.Moment]]:
    """Run a search, and return the inner steps below each outer step."""
    steps, found = [], []
    search.inner_optimizer.register_step_post_hook(lambda *_: steps.append(search.last))

    def outer(*_):
        found.append([*steps])
        steps.clear()

    search.outer_optimizer.register_step_pre_hook(outer)
    search.run()
    return found


OPTIMIZERS = {
    "AdamW": {"optimizer": torch.optim.AdamW, "settings": ADAM},
    "Adam": {"optimizer": torch.optim.Adam, "settings": {**ADAM, "maximize": True}, "lr": 1e-3},
    "SGD": {"optimizer": torch.optim.SGD, "settings": SGD, "lr": 0.3},
    "Nesterov": {
        "optimizer": torch.optim.SGD,
        "settings": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
        "lr": 0.3,
    },
    "SGD without momentum": {"optimizer": torch.optim.SGD, "lr": 0.3},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("unroll", [2, 4])
def test_all_steps_of_a_window_are_in_it(unroll, optimizer):
    torch.manual_seed(5)
    model = tiny_bert(dropout=0.1, dtype=torch.float64)
    options = {"unroll_steps": unroll, "train_iters": 3 * unroll, **OPTIMIZERS[optimizer]}
    search = Search(model, hypergradient=EXPLICIT, **options)
    is_adam = "Adam" in optimizer
    move, update = (oracles.adam_move, oracles.adam) if is_adam else (oracles.sgd_move, oracles.sgd)
    pretrained = dict(search.mixup.pretrained.items())
    found = windows(search)
    assert [len(window) for window in found] == [unroll] * 3
    for window in found:
        gradient = window[-1].gradient
        expected = oracles.explicit_window(search.loss, window, pretrained, move)
        assert oracles.relative_error(gradient, expected) < 1e-10
        last = oracles.explicit(search.loss, window[-1], update, pretrained)
        assert oracles.relative_error(last, expected) > 1e-3  # the earlier steps are most of it


class Regularized(agwm.TaskWeightProblem):
    """A loss that reads W itself: its gradient is not alpha times that by the mixed weights."""

    def loss(self, batch):
        return super().loss(batch) + 0.5 * sum((p**2).sum() for p in self.model.parameters())


def test_what_a_loss_reads_of_w_itself_is_no_part_of_it():
    search = Search(
        train_iters=3,
        inner_problem=Regularized,
        hypergradient={"best_response": "sgd", **EXPLICIT},
        lr=0.3,
    )
    # under plain SGD the penalty moves W, and its gradient does not depend on alpha
    check(search, oracles.plain_sgd, at_taken=True)


@pytest.mark.parametrize("form", [name for name in ALPHA_FORMS if name != "frozen"])
@pytest.mark.parametrize("formula", ["convex", "factored"])
def test_each_form_and_formula_against_autograd(form, formula):
    torch.manual_seed(1)
    model = torch.nn.Linear(5, 4).double()
    mixup = agwm.inject(model, "weight", alpha=form, formula=formula, init_std=0.2, seed=0)
    mixup.attention.double()
    weight, alpha = mixup.weights["weight"], dict(mixup.attention.named_parameters())
    slope, direction = torch.randn(2, 4, 5, dtype=torch.float64)
    found = {id(parameter): term for parameter, term in weight.explicit_part(slope, direction)}
    task = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    mixed = mix_weights(task, weight.pretrained, weight.alpha.factors(), formula)
    (gradient,) = torch.autograd.grad(mixed, task, slope, create_graph=True)
    expected = torch.autograd.grad((gradient * direction).sum(), list(alpha.values()))
    assert len(found) == len(alpha)
    for parameter, one in zip(alpha.values(), expected, strict=True):
        torch.testing.assert_close(found[id(parameter)], one, rtol=1e-12, atol=1e-14)


class Squashed(agwm.Alpha):
    """Alpha as a function of its parameter."""

    def create_parameters(self):
        self.raw = torch.nn.Parameter(torch.full((self.shape[0], 1), 0.3))

    def factors(self):
        return (self.raw.sigmoid(),)


def test_a_form_whose_factors_are_made_of_its_parameters():
    model = torch.nn.Linear(5, 4).double()
    mixup = agwm.inject(model, "weight", alpha=Squashed)
    mixup.attention.double()
    weight = mixup.weights["weight"]
    slope, direction = torch.randn(2, 4, 5, dtype=torch.float64)
    ((parameter, term),) = weight.explicit_part(slope, direction)
    slopes = parameter.sigmoid() * (1 - parameter.sigmoid()) * (slope * direction).sum(1, keepdim=True)
    torch.testing.assert_close(term, slopes)


def test_no_pass_and_no_copy_of_w_is_made():
    search = Search(train_iters=2, hypergradient=EXPLICIT)
    passes, kept = [], []
    search.model.register_forward_hook(lambda *_: passes.append(1))
    search.inner_optimizer.register_step_pre_hook(
        lambda *_: kept.append(search.engine.inner._recording.trace.weights)
    )
    search.run()
    assert len(passes) == 4 and kept == [None, None]
    assert search.engine.inner._recording.trace.slopes == {}


def test_a_foreign_program_that_asks_for_it_gets_one_line():
    with pytest.raises(HypergradientError, match="expected a problem that offers its explicit part"):
        engine(*problems(inner_config=agwm.HypergradientConfig(hypergradient=EXPLICIT)))


def test_part_of_a_batch_does_not_fit():
    with pytest.raises(ConfigError, match="expected no batch_fraction with scheme 'explicit'"):
        agwm.Hypergradient(scheme="explicit", batch_fraction=0.5)


@pytest.mark.parametrize("unroll", [1, 2])
def test_nothing_as_large_as_w_stays_after_an_outer_step(unroll):
    search = Search(train_iters=2 * unroll, unroll_steps=unroll, hypergradient=EXPLICIT)
    held = []

    def look(*_):
        recording = search.engine.inner._recording
        held.append((len(recording.slopes), len(recording.trace.slopes)))

    search.outer_optimizer.register_step_pre_hook(look)
    search.inner_optimizer.register_step_pre_hook(look)
    search.run()
    assert max(count for count, _ in held) > 0  # right before an inner step the gradients are there
    recording = search.engine.inner._recording
    assert not recording.slopes and not recording.carried
    assert not recording.trace.slopes and not recording.trace.carried
