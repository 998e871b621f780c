"""Settings of the hypergradient, under the names that YAML files and ``build_engine`` use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from agwm.checks import Interval, check_fields
from agwm.errors import ConfigError, close_names
from agwm.hypergradient.best_response import BestResponse

__all__ = ["HYPERGRADIENT_TYPE", "Hypergradient"]

HYPERGRADIENT_TYPE = "agwm"
Order = Literal["first", "second"]
Scheme = Literal["central", "forward", "explicit"]


@dataclass(frozen=True)
class Hypergradient:
    r"""Settings of the hypergradient: how the outer problem differentiates through the inner step.

    Attributes:
        scheme: ``"central"`` (two passes, error of order epsilon squared), ``"forward"`` (one pass
            where the inner step already gave the gradient at the undisplaced weights) or ``"explicit"``
            (no pass: of the mixed derivative only what is explicit in the outer parameters, with the
            gradient by the mixed weights held fixed; the inner problem has to offer it).
        best_response: ``"identity"`` (Hessian = I and no learning rate, at the updated W, as Betty's
            darts), ``"sgd"`` (times the inner learning rate, at W before the step, as the paper
            writes it) or ``"optimizer"`` (exact through the inner AdamW, Adam or SGD step taken, with
            its clipping, at W before the step).
        epsilon: Norm of the displacement of W: the finite difference takes steps of
            ``epsilon / norm(u)`` along u. None: chosen from W, u and the dtype.
        order: ``"second"``, or ``"first"`` to drop the indirect term.
        batch_fraction: Part of each inner micro-batch, its first examples, on which the finite difference
            is taken; in (0, 1]. Below 1 either scheme takes two passes of that part: the gradient that
            the inner step gave is of the whole batch. The inner loss must be a mean over examples.

    Raises:
        ConfigError: If a value is unknown or out of range.
    """

    scheme: Scheme = "central"
    best_response: BestResponse = "optimizer"
    epsilon: Annotated[float, Interval(0, is_open=True)] | None = None
    order: Order = "second"
    batch_fraction: Annotated[float, Interval(0, 1, is_open=True)] = 1.0

    def __post_init__(self) -> None:
        check_fields(self, "hypergradient")
        of_difference = {"batch_fraction": (self.batch_fraction, 1), "epsilon": (self.epsilon, None)}
        for name, (value, unused) in of_difference.items():
            if self.scheme == "explicit" and value != unused:
                raise ConfigError(
                    f"Settings of the hypergradient do not fit each other: expected no {name} with scheme"
                    f" 'explicit', which takes no difference, got {value}. Leave it out, or choose scheme"
                    " 'central' or 'forward'."
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
        """True if the mixed derivative is taken at W before the inner step, not at the updated W.

        An unrolled step is differentiated where it started. ``identity`` is read as implicit
        differentiation at the updated W, but for the schemes that reuse what the inner backward gave.
        """
        return self.best_response != "identity" or self.scheme != "central"

    @property
    def reuses_inner_gradient(self) -> bool:
        """True if the inner backward already gives one side of the difference."""
        return self.order == "second" and self.scheme == "forward" and self.batch_fraction == 1

    @property
    def takes_difference(self) -> bool:
        """True if the indirect term is a finite difference."""
        return self.order == "second" and self.scheme != "explicit"

    @property
    def num_difference_passes(self) -> float:
        """Passes of an inner micro-batch that one finite difference takes; parts count as parts."""
        if not self.takes_difference:
            return 0
        return 1 if self.reuses_inner_gradient else 2 * self.batch_fraction
