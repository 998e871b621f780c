"""What an engine checks before it is built."""

from __future__ import annotations

import torch

from agwm.errors import ConfigError, ModelError
from agwm.hypergradient._betty import EngineConfig, ImplicitProblem
from agwm.hypergradient.settings import HYPERGRADIENT_TYPE
from agwm.search.problems import PRECISIONS

__all__ = ["check_clipping", "check_count", "check_engine", "check_precision"]

# Model types whose gradient torch.autograd.grad does not see in full.
_OWN_BACKWARD = {"reformer": "its reversible layers add to .grad in a backward pass of their own"}


def check_engine(
    engine: type, inner: ImplicitProblem, outer: ImplicitProblem, config: EngineConfig
) -> None:
    """Raise unless two problems can be run by an engine of this type and config.

    Raises:
        ConfigError: If the problems are not new, their names are taken, their precision cannot be had, or
            the config asks for what an engine does not do.
        ModelError: If the hypergradient of the model would be wrong without a sign of it.
    """
    _check_problems(engine, inner, outer)
    _check_config(config)
    _check_model(inner.model)
    _check_weights(inner)


def _check_problems(engine: type, inner: ImplicitProblem, outer: ImplicitProblem) -> None:
    """Raise unless the two problems are new, their names are free and their precision can be had.

    Raises:
        ConfigError: Otherwise.
    """
    if inner.device is not None or outer.device is not None:
        raise ConfigError(
            "Problems belong to an engine already: expected new ones, got problems of another"
            " engine. Build new problems for each engine."
        )
    for name in (inner.name, outer.name):
        is_taken = any(hasattr(owner, name) for owner in (engine, inner, outer))
        if is_taken or inner.name == outer.name:
            raise ConfigError(
                f"Name of a problem is taken: expected one that becomes an attribute of the engine and of"
                f" the other problem, got {name!r}. Choose another."
            )
    device = next(inner.model.parameters()).device
    for problem in (inner, outer):
        check_precision(problem.precision, device)


def _check_model(model: torch.nn.Module) -> None:
    """Raise for models whose hypergradient would be wrong without a sign of it.

    Raises:
        ModelError: If the model's layers bypass autograd.
    """
    kind = getattr(getattr(model, "config", None), "model_type", None)
    if kind in _OWN_BACKWARD:
        raise ModelError(
            f"Cannot search alpha of {type(model).__name__}: expected a model that torch.autograd.grad"
            f" differentiates, but {_OWN_BACKWARD[kind]}. Use another architecture."
        )


def _check_weights(inner: ImplicitProblem) -> None:
    """Raise for weights that cannot take the steps of the hypergradient, or that are not mixed any more.

    A displacement of W by the default epsilon is below the spacing of half-precision numbers for most
    entries: the difference would be mostly rounding.

    Raises:
        ModelError: If the mixup is off the model, or trainable weights are in half precision where a
            finite difference is taken.
    """
    inner.mixup.check_attached()
    is_differentiated = inner.config.type == HYPERGRADIENT_TYPE and inner.settings.order == "second"
    if not (is_differentiated and inner.mixup.attention.is_trainable):
        return
    for name, parameter in inner.model.named_parameters():
        if parameter.requires_grad and torch.finfo(parameter.dtype).bits < 32:
            raise ModelError(
                f"Weights are too coarse for a hypergradient: expected float32 or float64, got"
                f" {parameter.dtype} in {name!r}. Load the model with dtype=torch.float32, and use"
                " precision='bf16' for passes in half precision."
            )


def _check_config(config: EngineConfig) -> None:
    """Raise unless an engine does what the config asks for.

    Raises:
        ConfigError: Otherwise.
    """
    if config.strategy != "default":
        raise ConfigError(
            f"Strategy is not supported: expected 'default', got {config.strategy!r}. Put the model on its"
            " device; for several processes initialize torch.distributed first."
        )
    if config.early_stopping:
        raise ConfigError(
            "Early stopping is not supported: expected early_stopping=False, got True."
            " Look at engine.history instead."
        )


def check_count(name: str, value: object) -> None:
    """Raise unless a setting is an integer of at least 1.

    Raises:
        ConfigError: Otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} is out of range: expected an integer >= 1, got {value!r}.")


def check_clipping(value: object) -> None:
    """Raise unless the largest norm of the gradient is a number of at least 0.

    Raises:
        ConfigError: Otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConfigError(
            f"gradient_clipping is out of range: expected a number >= 0, got {value!r}. Use 0 for no"
            " clipping."
        )


def check_precision(precision: str, device: torch.device) -> None:
    """Raise unless the precision is known and the device can do it.

    Raises:
        ConfigError: Otherwise.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"Unknown precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}.")
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError(
            f"precision='fp16' needs gradient scaling: expected a CUDA device, got {device.type!r}."
            " Use 'bf16' or 'fp32'."
        )
