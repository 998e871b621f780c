"""Check problems, model and config before an engine is built."""

from __future__ import annotations

import torch

from agwm.checks import check_precision
from agwm.errors import ConfigError, ModelError
from agwm.hypergradient._betty import EngineConfig, ImplicitProblem
from agwm.hypergradient.settings import HYPERGRADIENT_TYPE
from agwm.processes import check_joined, check_shards, check_unsharded
from agwm.shards import reshard_

__all__ = ["check_engine"]

# Model types whose gradient torch.autograd.grad does not see in full.
_OWN_BACKWARD = {"reformer": "its reversible layers add to .grad in a backward pass of their own"}


def check_engine(
    engine: type, inner: ImplicitProblem, outer: ImplicitProblem, config: EngineConfig
) -> None:
    """Raise unless two problems can be run by an engine of this type and config.

    Raises:
        ConfigError: If the problems are not new, their names are taken, their precision cannot be had, or
            the config asks for what an engine does not do.
        ModelError: If the hypergradient of the model would be silently wrong.
        ProcessError: If several processes are not joined, or share weights.
    """
    check_joined()
    _check_shards(inner, config)
    _check_problems(engine, inner, outer)
    _check_config(config)
    _check_model(inner.model)
    _check_weights(inner)


def _check_shards(inner: ImplicitProblem, config: EngineConfig) -> None:
    """Raise for sharded weights in a search that needs them whole.

    Raises:
        ProcessError: If other processes than all share them, W is displaced, or steps are rolled back.
    """
    reshard_(inner.model)
    check_shards(inner.model)
    weights = list(inner.model.named_parameters())
    settings = inner.hypergradient if inner.config.type == HYPERGRADIENT_TYPE else None
    if settings is None or settings.takes_difference:
        remedy = "Use scheme 'explicit', or order 'first'."
        check_unsharded(weights, "a finite difference", remedy)
    if config.roll_back:
        check_unsharded(weights, "roll_back", "Leave it out.")


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
    """Raise for models whose hypergradient would be silently wrong.

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
        ModelError: If the mixup is off the model, no mixed weight is trained, or trainable weights are in
            half precision where a finite difference is taken.
    """
    inner.mixup.check_whole()
    mixed = inner.mixup.candidates.values()
    if inner.mixup.attention.is_trainable and not any(one.task_weights.requires_grad for one in mixed):
        raise ModelError(
            f"Alpha has no effect: expected mixed weights that are trained, got {len(mixed)} that are"
            " frozen (requires_grad=False), so W stays W0. Unfreeze them, or name others with include; for"
            " a model with adapters see docs/peft.md."
        )
    is_differentiated = inner.config.type == HYPERGRADIENT_TYPE and inner.hypergradient.order == "second"
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
