"""Settings of the hypergradient, under the names that YAML files and ``build_engine`` use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from agwm.errors import ConfigError, close_names
from agwm.hypergradient.best_response import BEST_RESPONSES
from agwm.hypergradient.finite_difference import SCHEMES

__all__ = ["HYPERGRADIENT_TYPE", "ORDERS", "Hypergradient"]

HYPERGRADIENT_TYPE = "agwm"
ORDERS: tuple[str, ...] = ("first", "second")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        hint = close_names(value, choices) if isinstance(value, str) else ""
        raise ConfigError(
            f"hypergradient.{name} is unknown: expected one of {', '.join(choices)}, got"
            f" {value!r}.{hint} Choose one of them."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Hypergradient:
    r"""How the outer problem differentiates through the inner step.

    Attributes:
        scheme: ``"central"`` (two passes, error of order epsilon squared) or ``"forward"`` (one pass
            where the inner step already gave the gradient at the undisplaced weights).
        best_response: ``"identity"`` (Hessian = I and no learning rate, at the updated W, as Betty's
            darts), ``"sgd"`` (times the inner learning rate, at W before the step, as the paper
            writes it) or ``"optimizer"`` (exact through the inner AdamW, Adam or SGD step taken, with
            its clipping, at W before the step).
        epsilon: Norm of the displacement of W: the finite difference takes steps of
            ``epsilon / norm(u)`` along u. None: chosen from the norm of W and the dtype.
        order: ``"second"``, or ``"first"`` to drop the indirect term.
        batch_fraction: Part of each inner micro-batch, its first examples, on which the finite difference
            is taken; in (0, 1]. Below 1 either scheme takes two passes of that part: the gradient that
            the inner step gave is of the whole batch. The inner loss must be a mean over examples.

    Raises:
        ConfigError: If a value is unknown or out of range.
    """

    scheme: str = "central"
    best_response: str = "optimizer"
    epsilon: float | None = None
    order: str = "second"
    batch_fraction: float = 1.0

    def __post_init__(self) -> None:
        _check_choice("scheme", self.scheme, SCHEMES)
        _check_choice("best_response", self.best_response, BEST_RESPONSES)
        _check_choice("order", self.order, ORDERS)
        if self.epsilon is not None and not (_is_number(self.epsilon) and 0 < self.epsilon < float("inf")):
            raise ConfigError(
                f"hypergradient.epsilon is out of range: expected a number > 0 or null, got"
                f" {self.epsilon!r}. Leave it out to have it chosen."
            )
        if not (_is_number(self.batch_fraction) and 0 < self.batch_fraction <= 1):
            raise ConfigError(
                "hypergradient.batch_fraction is out of range: expected a number > 0 and <= 1, got"
                f" {self.batch_fraction!r}. Leave it out to use whole batches."
            )

    @classmethod
    def of(cls, value: Hypergradient | Mapping[str, Any] | None) -> Hypergradient:
        """Build settings from a mapping of their names, from settings, or from None (defaults).

        Raises:
            ConfigError: If a name is unknown, or a value is.
        """
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(
                "Settings of the hypergradient are unusable: expected a mapping such as"
                f" {{'scheme': 'central'}}, got {value!r}. Write them by name."
            )
        known = [entry.name for entry in fields(cls)]
        for name in value:
            if name not in known:
                raise ConfigError(
                    f"Unknown key hypergradient.{name}: expected one of {', '.join(known)}."
                    f"{close_names(str(name), known)} Correct or remove it."
                )
        return cls(**value)

    @property
    def differentiates_before_step(self) -> bool:
        """Whether the mixed derivative is taken at W before the inner step, not at the updated W.

        An unrolled step is differentiated where it started. ``identity`` is read as implicit
        differentiation at the updated W, except in the forward scheme, whose point is to reuse the
        gradient that the inner backward gave.
        """
        return self.best_response != "identity" or self.scheme == "forward"

    @property
    def reuses_inner_gradient(self) -> bool:
        """Whether one side of the difference is the gradient by alpha that the inner backward gives."""
        return self.order == "second" and self.scheme == "forward" and self.batch_fraction == 1

    @property
    def num_difference_passes(self) -> float:
        """Passes of an inner micro-batch that one finite difference takes; parts count as parts."""
        if self.order == "first":
            return 0
        return 1 if self.reuses_inner_gradient else 2 * self.batch_fraction
