"""First and second derivatives of the mixing function, against finite differences and autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.func import functional_call, grad, vmap

from agwm.checks import options
from agwm.mixing import formulas
from agwm.mixing.alpha import ALPHA_FORMS, alpha_class
from agwm.mixing.functions import Formula, mix_weights
from tests.mixing.hook_checks import formula

FORMS = [form for form in ALPHA_FORMS if form != "frozen"]
STACKS = [((4, 3), 0), ((2, 4, 3), 1), ((4, 2, 3), 0), ((2, 3, 2, 2), 2)]


def inputs(form, shape, num_batch_dims):
    generator = torch.Generator().manual_seed(0)
    alpha = alpha_class(form)(torch.Size(shape), num_batch_dims, generator=generator)
    task, pretrained = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    factors = tuple(
        torch.rand(factor.shape, generator=generator, dtype=torch.float64).requires_grad_()
        for factor in alpha.factors()
    )
    return task.requires_grad_(), pretrained, factors


@pytest.mark.parametrize("which", options(Formula))
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("shape", "num_batch_dims"), STACKS)
def test_gradients_of_first_and_second_order(form, which, shape, num_batch_dims):
    task, pretrained, factors = inputs(form, shape, num_batch_dims)

    def mixed(task, *factors):
        return mix_weights(task, pretrained, factors, which)

    assert torch.autograd.gradcheck(mixed, (task, *factors))
    assert torch.autograd.gradgradcheck(mixed, (task, *factors))


@pytest.mark.parametrize("which", options(Formula))
def test_rank_one_gradients_are_those_of_autograd(which):
    task, pretrained, (a, b) = inputs("rank1", (6, 5), 0)
    upstream = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad(mix_weights(task, pretrained, (a, b), which), (task, a, b), upstream)
    theirs = torch.autograd.grad(formula(task, pretrained, a, b, which), (task, a, b), upstream)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert all(gradient.norm() > 0 for gradient in theirs)


@pytest.mark.parametrize("which", options(Formula))
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("shape", "num_batch_dims"), STACKS)
def test_memory_used_again_changes_no_bit_and_no_input(form, which, shape, num_batch_dims):
    value, gradients = getattr(formulas, which), getattr(formulas, f"{which}_gradients")
    task, pretrained, factors = inputs(form, shape, num_batch_dims)
    tensors = [t.detach().float() for t in (task, pretrained, *factors)]
    upstream = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    before = [t.clone() for t in (*tensors, upstream)]
    for needs in itertools.product([False, True], repeat=2):
        wanted = [needs[0], False] + [needs[1]] * len(factors)
        with torch.enable_grad():  # here nothing is written over
            plain = value(*tensors), *gradients(wanted, upstream, *tensors)
        with torch.no_grad():
            ours = value(*tensors), *gradients(wanted, upstream, *tensors)
        for left, right in zip(ours, plain, strict=True):
            assert (left is None) == (right is None)
            assert left is None or torch.equal(left, right)
    assert all(map(torch.equal, (*tensors, upstream), before))


@pytest.mark.parametrize("which", options(Formula))
def test_several_backward_passes_at_once(which):
    task, pretrained, factors = inputs("rank1", (4, 3), 0)
    upstream = torch.randn(5, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mixed = mix_weights(task, pretrained, factors, which)

    def gradients(grad, **how):
        return torch.autograd.grad(mixed, (task, *factors), grad, retain_graph=True, **how)

    together = gradients(upstream, is_grads_batched=True)
    each = [torch.stack(column) for column in zip(*map(gradients, upstream), strict=True)]
    torch.testing.assert_close(list(together), each)


def test_pretrained_weights_never_receive_gradient():
    task, pretrained, factors = inputs("rank1", (4, 3), 0)
    pretrained.requires_grad_()
    mix_weights(task, pretrained, factors).sum().backward()
    assert pretrained.grad is None
    assert task.grad is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_nothing_is_kept_for_backward_but_the_inputs(dtype):
    task, pretrained, factors = inputs("rank1", (40, 30), 0)
    task, pretrained = task.detach().to(dtype).requires_grad_(), pretrained.to(dtype)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        mix_weights(task, pretrained, factors).sum()
    known = {t.data_ptr() for t in (task, pretrained, *factors)}
    assert saved
    assert {t.data_ptr() for t in saved} <= known


def test_half_precision_weights_give_float32_gradients_to_alpha():
    task, pretrained, (a, b) = inputs("rank1", (64, 64), 0)
    task, pretrained = task.detach().bfloat16().requires_grad_(), pretrained.bfloat16()
    a, b = (factor.detach().float().requires_grad_() for factor in (a, b))
    upstream = torch.randn(64, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    ours = torch.autograd.grad(mix_weights(task, pretrained, (a, b)), (task, a, b), upstream)
    wide = [t.detach().double().requires_grad_() for t in (task, a, b)]
    mixed = formula(wide[0], pretrained.double(), *wide[1:], "convex")
    theirs = torch.autograd.grad(mixed, wide, upstream.double())
    assert [gradient.dtype for gradient in ours] == [torch.bfloat16, torch.float32, torch.float32]
    assert torch.equal(ours[0], (wide[1] * wide[2] * upstream).float().bfloat16())
    torch.testing.assert_close(ours[1].double(), theirs[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours[2].double(), theirs[2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("which", options(Formula))
def test_function_transforms(which):
    task, pretrained, (a, b) = inputs("rank1", (4, 3), 0)
    tasks = torch.stack([task.detach(), 2 * task.detach()])

    def energy(task, a):
        return mix_weights(task, pretrained, (a, b.detach()), which).square().sum()

    def literal(task, a):
        return formula(task, pretrained, a, b.detach(), which).square().sum()

    ours = vmap(grad(energy, argnums=(0, 1)), in_dims=(0, None))(tasks, a.detach())
    theirs = vmap(grad(literal, argnums=(0, 1)), in_dims=(0, None))(tasks, a.detach())
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("which", options(Formula))
def test_one_factor_of_many_may_be_fixed(which):
    task, pretrained, (a, b) = inputs("rank1", (4, 3), 0)
    mix_weights(task.detach(), pretrained, (a.detach(), b), which).sum().backward()
    expected = formula(task.detach(), pretrained, a.detach(), b, which).sum()
    torch.testing.assert_close(b.grad, torch.autograd.grad(expected, b)[0])
    assert task.grad is None and a.grad is None


def test_functional_call_differentiates_through_an_injected_model():
    import agwm

    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    mixup = agwm.inject(model, seed=0)
    mixup.attention.double()
    with torch.no_grad():
        for parameter in mixup.attention.parameters():
            parameter.fill_(0.5)
    other = {n: torch.randn_like(p) for n, p in model.named_parameters()}
    x = torch.randn(5, 3, dtype=torch.float64)

    def through_hook(weights):
        return functional_call(model, weights, (x,)).square().sum()

    def by_hand(weights):
        mixed = {
            n: 0.25 * w + 0.75 * mixup.pretrained[n] if n in mixup.names else w for n, w in weights.items()
        }
        hidden = torch.tanh(x @ mixed["0.weight"].T + mixed["0.bias"])
        return (hidden @ mixed["2.weight"].T + mixed["2.bias"]).square().sum()

    torch.testing.assert_close(through_hook(other), by_hand(other))
    torch.testing.assert_close(grad(through_hook)(other), grad(by_hand)(other))
    assert torch.equal(model[0]._parameters["weight"], mixup.pretrained["0.weight"])
