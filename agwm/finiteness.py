"""Checks that numbers are finite: of each training step, before it changes weights, and of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

import torch
from torch import Tensor, nn

from agwm.errors import DivergenceError
from agwm.shards import whole

__all__ = ["StepCheck", "check_tensors", "check_weights", "largest_gradient"]

# Steps in a row whose loss may be not finite under gradient scaling, which leaves such steps out.
_TOLERATED = 10


def largest_gradient(parameters: Iterable[Tensor]) -> Tensor:
    """Return the largest absolute value in all gradients: finite only if each is. 0 without gradient."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros((), device="cpu")
    return whole(torch.nn.utils.get_total_norm(gradients, math.inf))


class StepCheck:
    """Check of loss and gradient, right before an optimizer's step: the weights are still finite then.

    On an accelerator it waits once in a step, for loss and gradient norm together. To look later would
    not wait, but the weights would be lost by then.

    Args:
        phase: Name of the training, for messages.
        remedy: Advice for messages: the settings that help, and what to do with them.
        num_steps: Number of steps in the training.
    """

    def __init__(self, phase: str, remedy: str, num_steps: int) -> None:
        self.phase, self.remedy = phase, remedy
        self._tolerated = max(1, min(_TOLERATED, num_steps))
        self._bad = 0

    def to_tree(self) -> int:
        """Return the number of steps in a row whose loss was not finite, for a checkpoint."""
        return self._bad

    def load_tree(self, tree: int) -> None:
        """Take back the state of :meth:`to_tree`."""
        self._bad = tree

    def look(
        self,
        step: int,
        losses: Sequence[Tensor],
        gradient: Tensor | float,
        places: Sequence[object],
        is_scaled: bool = False,
    ) -> bool:
        """Return True if all losses of a step are finite; raise if training must not go on.

        Args:
            step: Number of the step, counted from 1.
            losses: The loss of each of its batches.
            gradient: A norm of the whole gradient.
            places: Texts that say where each batch comes from.
            is_scaled: True under gradient scaling, which leaves out steps whose gradient overflows. Then
                only a loss counts that is not finite in 10 steps in a row, or in all of a shorter training.

        Raises:
            DivergenceError: If a loss is not finite, or the gradient is not.
        """
        device = losses[0].device
        numbers = [loss.detach().reshape(()) for loss in losses]
        numbers.append(torch.as_tensor(gradient, device=device).detach())
        values = torch.stack(numbers).tolist()
        bad = [number for number, value in enumerate(values[:-1]) if not math.isfinite(value)]
        self._bad = self._bad + 1 if bad else 0
        if self._bad >= (self._tolerated if is_scaled else 1):
            self._refuse("Loss", step, "number", values[bad[0]], str(places[bad[0]]))
        if not (math.isfinite(values[-1]) or is_scaled):
            self._refuse("Gradient", step, "norm", values[-1], "; ".join(map(str, places)))
        return not bad

    def _refuse(self, what: str, step: int, kind: str, value: float, place: str) -> NoReturn:
        raise DivergenceError(
            f"{what} is not finite in phase {self.phase!r} at step {step}: expected a finite {kind}, got"
            f" {value} on {place}. {self.remedy}"
        )


@torch.no_grad()
def check_tensors(
    tensors: Mapping[str, Tensor], where: str, remedy: str, allows_infinity: bool = False
) -> None:
    """Raise unless tensors of floating-point numbers are finite.

    Args:
        tensors: The tensors by name; others than floating-point ones pass.
        where: End of the sentence "... is not finite", for the message.
        remedy: What to do.
        allows_infinity: True to refuse not-a-number alone.

    Raises:
        DivergenceError: If one is not; names the first.
    """
    floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    flags = [
        whole((~tensor.isnan() if allows_infinity else tensor.isfinite()).all())
        for tensor in floats.values()
    ]
    if not flags:
        return
    # an accelerator is waited for once, not for every tensor
    found = torch.stack([flag.to(flags[0].device) for flag in flags]).tolist()
    for name, is_good in zip(floats, found, strict=True):
        if not is_good:
            got = "nan" if bool(whole(floats[name].isnan().any())) else "inf"
            raise DivergenceError(
                f"Weight {name!r} is not finite{where}: expected finite numbers, got {got}. {remedy}"
            )


def check_weights(model: nn.Module, where: str, remedy: str) -> None:
    """Raise unless a model is finite: the parameters that take gradient; of the rest, none is NaN.

    What training did not touch may hold infinity, as a mask does.

    Raises:
        DivergenceError: If it is not.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rest = dict[str, Tensor](model.named_buffers())
    rest.update((name, p) for name, p in model.named_parameters() if not p.requires_grad)
    check_tensors(trained, where, remedy)
    check_tensors(rest, where, remedy, allows_infinity=True)
