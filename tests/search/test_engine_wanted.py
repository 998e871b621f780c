"""A backward pass computes the gradients it is for, and those are the ones it always computed."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad
from torch.utils._python_dispatch import TorchDispatchMode

import agwm
from agwm.forward_pass import ForwardPass
from agwm.mixing import functions as mixing
from tests.search_runs import Search, tiny_classifier, token_batches, vector_batches
from tests.tiny_models import tiny_bert

TASK, ALPHA, BOTH = (True, False, False, False), (False, False, True, True), (True, False, True, True)


class Counted(TorchDispatchMode):
    """Counts what is computed, by the name of the operation."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def needs(monkeypatch):
    """What each backward of the mixing function computed, as it is called."""
    seen: list[tuple[bool, ...]] = []
    own = mixing.needed
    monkeypatch.setattr(mixing, "needed", lambda ctx: seen.append(own(ctx)) or seen[-1])
    return seen


def passes(wanted: str):
    """Return gradients and counts of operations: all of autograd's, and those of a pass that is told."""
    model = tiny_bert(dropout=0.1)
    mixup = agwm.inject(model, init_std=0.2, seed=0)
    tensors = {"alpha": list(mixup.attention.parameters()), "weights": list(model.parameters())}
    tensors["both"] = [*tensors["alpha"], *tensors["weights"]]
    results = []
    for told in (False, True):
        torch.manual_seed(0)
        with ForwardPass() as forward:
            loss = model(**token_batches(1)[0]).loss
        with Counted() as counted:
            if told:
                gradients = forward.gradients(loss, tensors[wanted])
            else:
                gradients = torch.autograd.grad(loss, tensors[wanted], allow_unused=True)
        results.append((gradients, counted.calls))
    return *results, len(mixup.names)


@pytest.mark.parametrize("wanted", ["alpha", "weights", "both"])
def test_gradients_are_the_same_bits_with_less_work(wanted):
    (expected, all_calls), (gradients, calls), num_mixed = passes(wanted)
    for one, other in zip(gradients, expected, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    saved = {
        # the product of the factors, and times the gradient
        "alpha": {"mul": num_mixed, "mul_": num_mixed},
        "weights": {"sub": num_mixed, "mul_": num_mixed, "mm": 2 * num_mixed, "t": 2 * num_mixed},
        "both": {},
    }
    assert all_calls - calls == saved[wanted]
    assert not calls - all_calls


def test_finite_difference_computes_no_gradient_of_embeddings_norms_and_biases():
    _, (_, calls), num_mixed = passes("alpha")
    assert not {"embedding_dense_backward", "sum"} & set(calls)
    assert calls["sub"] == num_mixed  # W - W0, once a weight
    _, (_, of_weights), _ = passes("weights")
    assert {"embedding_dense_backward", "sum"} <= set(of_weights)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"scheme": "central"}, [TASK, BOTH, ALPHA, ALPHA]),
        ({"scheme": "forward"}, [BOTH, BOTH, ALPHA]),
        ({"scheme": "forward", "batch_fraction": 0.5}, [TASK, BOTH, ALPHA, ALPHA]),
        ({"scheme": "explicit"}, [TASK, BOTH]),
        ({"order": "first"}, [TASK, ALPHA]),
    ],
)
def test_passes_of_a_search_step(settings, expected, needs):
    batches = {"inner": vector_batches(2), "outer": vector_batches(2, seed=1)}
    search = Search(tiny_classifier(0.1), "*weight", train_iters=2, hypergradient=settings, **batches)
    search.run()
    assert needs == [each for each in expected * 2 for _ in search.mixup.names]


@pytest.mark.parametrize(
    "settings", [{"scheme": "central"}, {"scheme": "forward"}, {"scheme": "explicit"}, {"order": "first"}]
)
def test_search_is_the_same_bit_for_bit(settings, monkeypatch):
    def run() -> Search:
        torch.manual_seed(3)
        search = Search(tiny_bert(dropout=0.1), train_iters=3, hypergradient=settings)
        search.run()
        return search

    lean = run()
    monkeypatch.setattr(mixing, "needed", lambda ctx: ctx.needs_input_grad)
    full = run()
    for name, factor in full.alpha().items():
        assert torch.equal(lean.alpha()[name], factor)
    for name, weight in full.weights().items():
        assert torch.equal(lean.weights()[name], weight)


def linear():
    layer = nn.Linear(3, 4).double()
    mixup = agwm.inject(layer, init_std=0.3, seed=0)
    with torch.no_grad():
        layer._parameters["weight"].add_(0.1)
    return layer, mixup, list(mixup.attention.parameters()), torch.randn(5, 3, dtype=torch.float64)


def test_gradients_inside_of_a_pass_are_complete():
    """A loss with a gradient of its own, as of a gradient penalty."""
    layer, _, alpha, x = linear()
    weight = layer._parameters["weight"]

    def penalized() -> torch.Tensor:
        loss = layer(x).square().sum()
        (slope,) = torch.autograd.grad(loss, weight, create_graph=True)
        return loss + slope.square().sum()

    expected = torch.autograd.grad(penalized(), alpha)
    with ForwardPass() as forward:
        loss = penalized()
    for one, other in zip(forward.gradients(loss, alpha), expected, strict=True):
        assert torch.equal(one, other)


def test_weights_that_depend_on_what_is_wanted_are_differentiated():
    layer, _, _, x = linear()
    scale = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def loss() -> torch.Tensor:
        weights = {name: value.detach() * scale for name, value in layer.named_parameters()}
        return functional_call(layer, weights, (x,)).square().sum()

    (expected,) = torch.autograd.grad(loss(), scale)
    with ForwardPass() as forward:
        value = loss()
    assert torch.equal(forward.gradients(value, [scale])[0], expected)
    assert expected.abs() > 0
    with ForwardPass() as forward:
        inside = grad(
            lambda s: (
                functional_call(layer, {n: v.detach() * s for n, v in layer.named_parameters()}, (x,))
                .square()
                .sum()
            )
        )(scale.detach())
    assert torch.equal(inside, expected)


def test_what_is_kept_of_a_pass_can_be_differentiated_later():
    layer, _, alpha, x = linear()
    with ForwardPass() as forward:
        first, second = layer(x).sum(), layer(2 * x).square().sum()
    forward.gradients(first, [layer._parameters["weight"]])
    assert all(g is not None for g in torch.autograd.grad(second, alpha))
