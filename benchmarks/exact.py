r"""The exact indirect term in float64, by double backward in recorded dropout masks.

.. math:: \frac{\partial}{\partial\alpha} \langle \nabla_W L_{tr}(W, \alpha), u \rangle, \qquad
          u = \Big(\frac{\partial F}{\partial g}\Big)^{\!\top} \nabla_{W'} L_{val}

None of the package's own formulas is used: the mixed weights are written out on a plain model, and
every derivative, that of the optimizer's update too, is autograd's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from agwm.rng import RngState, replay
from benchmarks.models import Machine

__all__ = ["Draw", "ExactModel", "adam_response", "adam_step", "convex", "factored", "record_masks"]

Weights = dict[str, Tensor]
Pairs = dict[str, tuple[Tensor, Tensor]]  # shapes: (rows, 1) and (1, columns)


@dataclass(frozen=True)
class Draw:
    """A forward pass that was made: its batch, the random state before it, and its loss."""

    batch: dict[str, Tensor]
    state: RngState
    loss: float


class _Record(TorchFunctionMode):
    """Draw each dropout mask as it would be drawn, and keep it."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not nn.functional.dropout:
            return func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():
            drawn = func(torch.ones_like(args[0]), *args[1:], **{**(kwargs or {}), "inplace": False})
        self.masks.append(drawn != 0)
        return args[0] * drawn


class _Apply(TorchFunctionMode):
    """Give each dropout the next of the recorded masks."""

    def __init__(self, masks: Iterable[Tensor], dropout: float) -> None:
        super().__init__()
        self.masks, self.kept = iter(masks), 1.0 - dropout

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not nn.functional.dropout:
            return func(*args, **(kwargs or {}))
        return args[0] * next(self.masks) / self.kept


@torch.no_grad()
def record_masks(model: nn.Module, draw: Draw, machine: Machine) -> list[Tensor]:
    """Make a forward pass again, in the precision it was made in, and return its dropout masks.

    Args:
        model: The model that made it, with attention in plain tensor operations.
        draw: The pass.
        machine: Gives the precision.
    """
    with replay(draw.state), machine.autocast(), _Record() as record:
        model(**draw.batch)
    return record.masks


def convex(task: Tensor, pretrained: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the mixed weights by the definition."""
    alpha = rows * columns
    return alpha * task + (1 - alpha) * pretrained


def factored(task: Tensor, pretrained: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the mixed weights by the official code's formula."""
    return (rows * columns) * task + ((1 - rows) * (1 - columns)) * pretrained


def _leaves(tensors: Mapping[str, Tensor]) -> Weights:
    return {name: tensor.detach().double().requires_grad_() for name, tensor in tensors.items()}


class ExactModel:
    """The loss as a function of W and alpha, in float64.

    Args:
        plain: The model with the pretrained weights; copied.
        formula: ``convex`` or ``factored``.
        dropout: Probability, the same of every dropout.
    """

    def __init__(self, plain: nn.Module, formula: Callable[..., Tensor], dropout: float) -> None:
        self.model = copy.deepcopy(plain).double()
        self.pretrained = {name: p.detach() for name, p in self.model.named_parameters()}
        self.formula = formula
        self.dropout = dropout

    def loss(self, weights: Weights, pairs: Pairs, draw: Draw, masks: list[Tensor] | None) -> Tensor:
        """Return the loss of a pass; ``masks`` None: in evaluation mode."""
        mixed = dict(weights)
        for name, pair in pairs.items():
            mixed[name] = self.formula(weights[name], self.pretrained[name], *pair)
        self.model.train(masks is not None)
        with nullcontext() if masks is None else _Apply(masks, self.dropout):
            return functional_call(self.model, mixed, (), dict(draw.batch)).loss

    @torch.no_grad()
    def check(self, weights: Weights, pairs: Pairs, draw: Draw, masks: list[Tensor], within: float) -> None:
        """Raise unless the loss in these masks is the one that the pass had.

        Args:
            weights: W at the pass.
            pairs: The attention parameters at the pass.
            draw: The pass.
            masks: Its masks.
            within: Relative difference that rounding may make.

        Raises:
            RuntimeError: If it is not.
        """
        loss = float(self.loss(_leaves(weights), self._wide(pairs), draw, masks))
        if abs(loss - draw.loss) > within * abs(draw.loss):
            raise RuntimeError(
                f"The masks are not those of the step: expected loss {draw.loss}, got {loss}."
            )

    def gradient(self, weights: Weights, pairs: Pairs, draw: Draw, masks: list[Tensor]) -> Weights:
        """Return the gradient of the loss by W."""
        leaves = _leaves(weights)
        loss = self.loss(leaves, self._wide(pairs), draw, masks)
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    def indirect(
        self,
        weights: Weights,
        pairs: Pairs,
        draw: Draw,
        masks: list[Tensor] | None,
        response: Callable[[str, Tensor], Tensor],
    ) -> list[Tensor]:
        """Return the derivative by alpha of ``<gradient by W, u>``.

        Args:
            weights: W at which the inner gradient is taken.
            pairs: The attention parameters of each mixed weight, by its name.
            draw: The inner step's pass.
            masks: Its masks; None: in evaluation mode.
            response: u of a weight, from its name and its gradient.

        Returns:
            One tensor for each vector of ``pairs``, in their order.
        """
        leaves, wide = _leaves(weights), self._wide(pairs)
        loss = self.loss(leaves, wide, draw, masks)
        gradients = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        product = sum(
            (g * response(name, g.detach())).sum() for name, g in zip(leaves, gradients, strict=True)
        )
        return list(torch.autograd.grad(product, [vector for pair in wide.values() for vector in pair]))

    def step_back(
        self,
        weights: Weights,
        pairs: Pairs,
        draw: Draw,
        masks: list[Tensor],
        optimizer: Mapping[str, tuple[Mapping[str, Any], Any]],
        after: Mapping[str, Sequence[Tensor]],
    ) -> tuple[dict[str, list[Tensor]], list[Tensor]]:
        """Take derivatives of something through one step of AdamW, its moments included.

        Args:
            weights: W before the step.
            pairs: The attention parameters of each mixed weight, by its name.
            draw: The step's pass.
            masks: Its masks.
            optimizer: Settings and state before the step, of each weight.
            after: Derivatives by W and the two moments after the step, of each weight.

        Returns:
            The same before the step, and by alpha as :meth:`indirect` returns it.
        """
        leaves, wide = _leaves(weights), self._wide(pairs)
        loss = self.loss(leaves, wide, draw, masks)
        gradients = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        before, product = {}, torch.zeros((), dtype=torch.float64)
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
            group, state = optimizer[name]
            before[name] = [leaf, *_moments(leaf, state)]
            moved = adam_step(gradient, before[name], _number(state), group)
            product = product + sum((c * m).sum() for c, m in zip(after[name], moved, strict=True))
        states = [tensor for triple in before.values() for tensor in triple]
        vectors = [vector for pair in wide.values() for vector in pair]
        found = torch.autograd.grad(product, [*states, *vectors])
        triples = iter(found[: len(states)])
        return {name: [next(triples) for _ in range(3)] for name in before}, list(found[len(states) :])

    @staticmethod
    def _wide(pairs: Pairs) -> Pairs:
        return {
            name: tuple(vector.detach().double().requires_grad_() for vector in pair)
            for name, pair in pairs.items()
        }


def _moments(weight: Tensor, state: Any) -> list[Tensor]:
    """Return Adam's two moments before a step, in float64; zeros before the first."""
    moments = [state.get(key, torch.zeros_like(weight)) for key in ("exp_avg", "exp_avg_sq")]
    return [moment.detach().double().requires_grad_() for moment in moments]


def _number(state: Any) -> float:
    return float(state.get("step", 0)) + 1


def adam_step(
    gradient: Tensor, before: Sequence[Tensor], number: float, group: Mapping[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return W and the two moments after a step of AdamW, differentiable.

    Args:
        gradient: What enters the moments.
        before: W and the moments before the step.
        number: Number of the step, from 1.
        group: Settings of the weight.
    """
    weight, first, second = before
    beta1, beta2 = group["betas"]
    first = beta1 * first + (1 - beta1) * gradient
    second = beta2 * second + (1 - beta2) * gradient**2
    mean, square = first / (1 - beta1**number), second / (1 - beta2**number)
    # the root has no derivative where the gradient has always been zero; nor has it an effect there
    is_positive = square > 0
    root = torch.where(is_positive, torch.where(is_positive, square, 1.0).sqrt(), 0.0)
    weight = weight * (1 - group["lr"] * group["weight_decay"])
    return weight - group["lr"] * mean / (root + group["eps"]), first, second


def adam_response(gradient: Tensor, vector: Tensor, group: Mapping[str, Any], state: Any) -> Tensor:
    """Return u of one weight through a step of AdamW: v by the derivative of its update, by autograd.

    Args:
        gradient: What enters the moments.
        vector: v.
        group: Settings of the weight.
        state: State of the weight before the step; empty at the first.
    """
    gradient = gradient.detach().requires_grad_()
    before = [torch.zeros_like(gradient), *_moments(gradient, state)]
    moved, _, _ = adam_step(gradient, before, _number(state), group)
    (direction,) = torch.autograd.grad(moved, gradient, vector)
    return torch.where(gradient.detach() == 0, 0.0, direction)
