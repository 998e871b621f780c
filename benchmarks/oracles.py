"""Slow, exact references of the hypergradient: double backward through hand-written steps.

Nothing here imports the package: the mixed weights are the literal formula on a plain model, the
optimizers are written out, and every derivative is autograd's, in the dtype of the given tensors.

Tests and the benchmark share all functions but one: the context that makes a pass again. A test searches
in float64 on a CPU and replays the random state: :func:`replayed`. The benchmark searches in other
precisions, where a random state gives other masks: it passes recorded masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

Weights = dict[str, Tensor]
Draw = tuple[Any, Any]  # a batch, and what its forward pass drew: a random state or dropout masks
Loss = Callable[[Weights, Weights, Draw], Tensor]
Options = Mapping[str, Any]  # the optimizer's settings of a weight, or its state
Adjoint = dict[str, list[Tensor]]  # derivatives by a weight and by its two moments


@dataclass
class Moment:
    """All that one outer step depends on, and the gradient that its optimizer saw.

    Args:
        before: W before the inner step, by name.
        updated: W after it.
        alpha: Attention parameters, by name.
        inner: Micro-batches of the inner step.
        outer: Batch of the outer step.
        groups: The inner optimizer's settings of each weight at that step.
        states: Its state of each weight before that step.
        gradient: ``.grad`` of the attention parameters when the outer optimizer stepped.
    """

    before: Weights
    updated: Weights
    alpha: Weights
    inner: list[Draw]
    outer: Draw | None = None
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    gradient: Weights = field(default_factory=dict)

    def double(self) -> Moment:
        """Return the same moment in float64."""

        def wide(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.double() if value.is_floating_point() else value
            return {key: wide(item) for key, item in value.items()} if isinstance(value, dict) else value

        inner = [(wide(dict(batch)), state) for batch, state in self.inner]
        outer = (wide(dict(self.outer[0])), self.outer[1])
        tensors = [wide(part) for part in (self.before, self.updated, self.alpha)]
        return Moment(*tensors, inner, outer, self.groups, wide(self.states), wide(self.gradient))


def convex(task: Tensor, pretrained: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the mixed weights by the definition."""
    share = rows * columns
    return share * task + (1 - share) * pretrained


def factored(task: Tensor, pretrained: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the mixed weights by the official code's formula."""
    return (rows * columns) * task + ((1 - rows) * (1 - columns)) * pretrained


def drawn_state() -> Tensor | tuple[Tensor, Tensor]:
    """Return the random state of the CPU, and of the present CUDA device where there is one."""
    if torch.cuda.is_available():
        return torch.get_rng_state(), torch.cuda.get_rng_state()
    return torch.get_rng_state()


@contextmanager
def replayed(state: Tensor | tuple[Tensor, Tensor]) -> Iterator[None]:
    """Draw as after a state of :func:`drawn_state`; a tensor alone is the CPU's."""
    cpu, cuda = state if isinstance(state, tuple) else (state, None)
    devices = [] if cuda is None else [torch.cuda.current_device()]
    # the fused kernels have no second derivative
    with torch.random.fork_rng(devices=devices), sdpa_kernel(SDPBackend.MATH):
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda)
        yield


def keys(name: str) -> tuple[str, str]:
    """Return the names of the two vectors of a mixed weight, as the attention module has them."""
    key = name.replace(".", "/")
    return f"{key}.a", f"{key}.b"


def mixed_loss(
    plain: nn.Module,
    names: Sequence[str],
    formula: Callable[..., Tensor] = convex,
    drawn: Callable[[Any], AbstractContextManager[Any]] = replayed,
) -> Loss:
    """Return the loss of a plain model as a function of W and rank-1 alpha.

    Args:
        plain: A copy of the model with the pretrained weights W0.
        names: Names of the mixed weights.
        formula: ``convex`` or ``factored``.
        drawn: Context for a pass, from the second part of its draw.

    Returns:
        ``loss(weights, alpha, draw)``, in the masks of the draw; ``alpha`` by :func:`keys`.
    """
    parameters = dict(plain.named_parameters(remove_duplicate=False))
    pretrained = {name: parameters[name].detach() for name in names}

    def loss(weights: Weights, alpha: Weights, draw: Draw) -> Tensor:
        mixed = dict(weights)
        for name, start in pretrained.items():
            mixed[name] = formula(weights[name], start, *(alpha[key] for key in keys(name)))
        batch, random = draw
        with drawn(random):
            return functional_call(plain, mixed, (), dict(batch)).loss

    return loss


def _root(square: Tensor) -> Tensor:
    """Square root whose derivative is 0 at 0."""
    is_positive = square > 0
    return torch.where(is_positive, torch.where(is_positive, square, 1.0).sqrt(), 0.0)


def adam_step(
    weight: Tensor, gradient: Tensor, group: Options, state: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weight and its two moments after a step of Adam or AdamW (``decoupled_weight_decay``)."""
    gradient = -gradient if group["maximize"] else gradient
    if group["decoupled_weight_decay"]:
        weight = weight * (1 - group["lr"] * group["weight_decay"])
    else:
        gradient = gradient + group["weight_decay"] * weight
    beta1, beta2 = group["betas"]
    step = float(state.get("step", 0)) + 1
    first = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * gradient
    second = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * gradient**2
    mean, square = first / (1 - beta1**step), second / (1 - beta2**step)
    return weight - group["lr"] * mean / (_root(square) + group["eps"]), first, second


def adam(weight: Tensor, gradient: Tensor, group: Options, state: Options) -> Tensor:
    """Return the weight after one step of Adam or AdamW."""
    return adam_step(weight, gradient, group, state)[0]


def sgd(weight: Tensor, gradient: Tensor, group: Options, state: Options) -> Tensor:
    """Return the weight after one step of SGD with its momentum, damping and Nesterov's rule."""
    gradient = -gradient if group["maximize"] else gradient
    gradient = gradient + group["weight_decay"] * weight
    if group["momentum"]:
        past = state.get("momentum_buffer")
        buffer = gradient
        if past is not None:
            buffer = group["momentum"] * past + (1 - group["dampening"]) * gradient
        gradient = gradient + group["momentum"] * buffer if group["nesterov"] else buffer
    return weight - group["lr"] * gradient


def plain_sgd(weight: Tensor, gradient: Tensor, group: Options, state: Options) -> Tensor:
    """Return the weight after one step of gradient descent with the group's learning rate."""
    return weight - group["lr"] * gradient


def clipped(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    """Clip by the global norm, as ``clip_grad_norm_`` does; 0: no clipping."""
    if not max_norm:
        return gradients
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    factor = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
    return [gradient * factor for gradient in gradients]


def leaves(tensors: Weights) -> Weights:
    """Return copies to differentiate by."""
    return {name: tensor.detach().clone().requires_grad_() for name, tensor in tensors.items()}


def derivatives(loss: Tensor, at: Mapping[Any, Tensor], create_graph: bool = False) -> list[Tensor]:
    """Return the derivatives of a loss, zeros by a tensor that it does not depend on."""
    gradients = torch.autograd.grad(loss, list(at.values()), create_graph=create_graph, allow_unused=True)
    return [
        torch.zeros_like(tensor) if gradient is None else gradient
        for gradient, tensor in zip(gradients, at.values(), strict=True)
    ]


def inner_loss(loss: Loss, weights: Weights, alpha: Weights, moment: Moment) -> Tensor:
    """Return the mean loss of the micro-batches of an inner step."""
    return sum(loss(weights, alpha, draw) for draw in moment.inner) / len(moment.inner)


def next_weights(
    loss: Loss, moment: Moment, alpha: Weights, update: Callable[..., Tensor], max_norm: float = 0.0
) -> Weights:
    """Return W after the inner step, with the graph to alpha."""
    weights = leaves(moment.before)
    gradients = derivatives(inner_loss(loss, weights, alpha, moment), weights, create_graph=True)
    return {
        name: update(weights[name].detach(), gradient, moment.groups[name], moment.states[name])
        for name, gradient in zip(weights, clipped(gradients, max_norm), strict=True)
    }


def unrolled(
    loss: Loss,
    moment: Moment,
    update: Callable[..., Tensor],
    max_norm: float = 0.0,
    *,
    at_taken: bool = False,
) -> Weights:
    """Return the exact gradient of the outer loss through one inner step.

    Args:
        loss: What ``mixed_loss`` returned.
        moment: The step.
        update: The inner step: ``adam``, ``sgd`` or ``plain_sgd``.
        max_norm: Clipping threshold of the inner step.
        at_taken: Take the outer gradient at the weights that the run reached, not at those that
            ``update`` reaches: for an ``update`` other than the step that was taken.
    """
    alpha = leaves(moment.alpha)
    reached = next_weights(loss, moment, alpha, update, max_norm)
    if at_taken:
        reached = {
            name: moment.updated[name].detach() + weight - weight.detach()
            for name, weight in reached.items()
        }
    gradients = derivatives(loss(reached, alpha, moment.outer), alpha)
    return dict(zip(alpha, gradients, strict=True))


def direct(loss: Loss, moment: Moment) -> Weights:
    """Return the gradient of the outer loss by alpha at fixed W."""
    alpha = leaves(moment.alpha)
    return dict(zip(alpha, derivatives(loss(moment.updated, alpha, moment.outer), alpha), strict=True))


def held_gradients(
    loss: Loss, moment: Moment, alpha: Weights, pretrained: Weights, formula: Callable[..., Tensor] = convex
) -> Weights:
    """Return the gradient by W as a function of alpha, with that by the mixed weights held fixed.

    Args:
        loss: What ``mixed_loss`` returned.
        moment: The inner step.
        alpha: Attention parameters, with a graph to come.
        pretrained: W0 of the mixed weights.
        formula: The formula of ``loss``.
    """
    own = {name: [alpha[key] for key in keys(name)] for name in pretrained}
    mixed = {n: formula(moment.before[n], start, *own[n]) for n, start in pretrained.items()}
    read = leaves({**moment.before, **mixed})
    as_it_is = {key: torch.ones_like(value) for key, value in alpha.items()}
    slopes = dict(zip(read, derivatives(inner_loss(loss, read, as_it_is, moment), read), strict=True))
    return {n: own[n][0] * own[n][1] * slope if n in own else slope for n, slope in slopes.items()}


def explicit(
    loss: Loss,
    moment: Moment,
    update: Callable[..., Tensor],
    pretrained: Weights,
    max_norm: float = 0.0,
    *,
    at_taken: bool = False,
) -> Weights:
    """Return :func:`unrolled` with the gradient by the mixed weights held fixed."""
    alpha = leaves(moment.alpha)
    gradients = held_gradients(loss, moment, alpha, pretrained)
    reached = {
        name: update(moment.before[name], gradient, moment.groups[name], moment.states[name])
        for name, gradient in zip(gradients, clipped([*gradients.values()], max_norm), strict=True)
    }
    if at_taken:
        reached = {name: moment.updated[name] + w - w.detach() for name, w in reached.items()}
    slopes = derivatives(loss(reached, alpha, moment.outer), alpha)
    return dict(zip(alpha, slopes, strict=True))


def adam_move(weight: Tensor, gradient: Tensor, group: Options, state: Options) -> tuple[Tensor, Options]:
    """Return the weight and the state after a step of Adam or AdamW."""
    weight, first, second = adam_step(weight, gradient, group, state)
    step = float(state.get("step", 0)) + 1
    return weight, {"step": step, "exp_avg": first, "exp_avg_sq": second}


def sgd_move(weight: Tensor, gradient: Tensor, group: Options, state: Options) -> tuple[Tensor, Options]:
    """Return the weight and the state after a step of SGD."""
    entering = (-gradient if group["maximize"] else gradient) + group["weight_decay"] * weight
    past = state.get("momentum_buffer")
    if past is not None:
        entering = group["momentum"] * past + (1 - group["dampening"]) * entering
    return sgd(weight, gradient, group, state), {"momentum_buffer": entering}


def explicit_window(
    loss: Loss,
    moments: Sequence[Moment],
    pretrained: Weights,
    move: Callable[..., tuple[Tensor, Options]] = adam_move,
) -> Weights:
    """Return the gradient through several inner steps with each gradient by the mixed weights held fixed.

    Args:
        loss: What ``mixed_loss`` returned.
        moments: The steps of the window; the last has the outer batch.
        pretrained: W0 of the mixed weights.
        move: The inner step: ``adam_move`` or ``sgd_move``.
    """
    alpha = leaves(moments[0].alpha)
    reached, states = dict(moments[0].before), dict(moments[0].states)
    for moment in moments:
        for name, gradient in held_gradients(loss, moment, alpha, pretrained).items():
            moved = move(reached[name], gradient, moment.groups[name], states[name])
            reached[name], states[name] = moved
    slopes = derivatives(loss(reached, alpha, moments[-1].outer), alpha)
    return dict(zip(alpha, slopes, strict=True))


def outer_slope(loss: Loss, moment: Moment) -> Weights:
    """Return v, the gradient of the outer loss by the weights after the inner step."""
    updated = leaves(moment.updated)
    return dict(zip(updated, derivatives(loss(updated, moment.alpha, moment.outer), updated), strict=True))


def step_back(loss: Loss, moment: Moment, after: Adjoint) -> tuple[Adjoint, Weights]:
    """Take derivatives of something through one step of AdamW, its moments included.

    Args:
        loss: What ``mixed_loss`` returned.
        moment: The step.
        after: Derivatives by W and the two moments after the step.

    Returns:
        The same before the step, and the derivative by alpha.
    """
    weights, alpha = leaves(moment.before), leaves(moment.alpha)
    slopes = derivatives(inner_loss(loss, weights, alpha, moment), weights, create_graph=True)
    starts, product = {}, torch.zeros(())
    for (name, weight), slope in zip(weights.items(), slopes, strict=True):
        state = moment.states[name]
        zero = torch.zeros_like(weight)
        moments = leaves({key: state.get(key, zero) for key in ("exp_avg", "exp_avg_sq")})
        starts |= {(name, "W"): weight, **{(name, key): value for key, value in moments.items()}}
        moved = adam_step(weight, slope, moment.groups[name], {**state, **moments})
        product = product + sum((a * m).sum() for a, m in zip(after[name], moved, strict=True))
    found = iter(derivatives(product, starts | alpha))
    return {name: [next(found) for _ in range(3)] for name in weights}, dict(zip(alpha, found, strict=True))


def identity_term(loss: Loss, moment: Moment, at: Weights) -> Weights:
    """Return minus the mixed derivative of the inner loss at ``at`` times v."""
    alpha, weights = leaves(moment.alpha), leaves(at)
    vector = outer_slope(loss, moment).values()
    slopes = derivatives(inner_loss(loss, weights, alpha, moment), weights, create_graph=True)
    product = -sum((slope * v).sum() for slope, v in zip(slopes, vector, strict=True))
    return dict(zip(alpha, derivatives(product, alpha), strict=True))


def identity(loss: Loss, moment: Moment, at: Weights) -> Weights:
    """Return the direct term plus the indirect term whose best response is the identity."""
    indirect = identity_term(loss, moment, at)
    return {name: term + indirect[name] for name, term in direct(loss, moment).items()}


def relative_error(actual: Weights, expected: Weights) -> float:
    """Return the norm of the difference over the norm of what is expected, which must not be 0."""
    if actual.keys() != expected.keys():
        raise ValueError(f"The names differ: expected {list(expected)}, got {list(actual)}.")
    difference = torch.cat([(actual[name] - expected[name]).double().flatten() for name in expected])
    reference = torch.cat([expected[name].double().flatten() for name in expected])
    if not reference.norm() > 0:
        raise ValueError("The reference is zero: nothing is tested.")
    return float(difference.norm() / reference.norm())
