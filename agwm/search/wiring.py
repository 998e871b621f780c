"""Wiring of an injected model, two loaders and two optimizers into an engine."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from agwm.checks import Count, NonNegative, Precision, check_precision, check_value
from agwm.errors import AgwmWarning
from agwm.hypergradient._betty import Config, EngineConfig, HypergradientConfig
from agwm.hypergradient.settings import HYPERGRADIENT_TYPE, Hypergradient
from agwm.mixing.mixup import Mixup
from agwm.search.engine import Log, MixupEngine, Validate
from agwm.search.problems import AttentionProblem, TaskWeightProblem

__all__ = ["DOUBTFUL", "build_engine", "never_learned"]

DOUBTFUL = "Doubtful search"  # how such a warning begins


def never_learned(unroll_steps: int, num_steps: int) -> str:
    """Say that a search is too short for an outer step."""
    return (
        f"alpha is never learned: expected unroll_steps of at most {num_steps}, the steps of a search, got"
        f" {unroll_steps}."
    )


def build_engine(
    mixup: Mixup,
    inner_loader: Iterable[Any],
    outer_loader: Iterable[Any],
    inner_optimizer: torch.optim.Optimizer,
    outer_optimizer: torch.optim.Optimizer,
    train_iters: int,
    hypergradient: Hypergradient | Mapping[str, Any] | None = None,
    *,
    inner_scheduler: Any = None,
    outer_scheduler: Any = None,
    inner: type[TaskWeightProblem] = TaskWeightProblem,
    outer: type[AttentionProblem] = AttentionProblem,
    unroll_steps: int = 1,
    gradient_accumulation: int = 1,
    gradient_clipping: float = 0.0,
    precision: Precision = "fp32",
    roll_back: bool = False,
    validate: Validate | None = None,
    valid_step: int = 100,
    phase: str = "search",
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_step: int = 100,
    log: Log | None = None,
    log_step: int = 10,
) -> MixupEngine:
    """Wire an injected model, two loaders and two optimizers into an engine.

    Args:
        mixup: The result of ``agwm.inject``.
        inner_loader: Batches of the inner split: any iterable of dicts that can be iterated again.
        outer_loader: Batches of the outer split.
        inner_optimizer: Over ``mixup.model.parameters()``; the very object that steps.
        outer_optimizer: Over ``mixup.attention.parameters()``; the very object that steps.
        train_iters: Inner optimizer steps.
        hypergradient: Settings by name: ``scheme``, ``best_response``, ``epsilon``, ``order``,
            ``batch_fraction``.
        inner_scheduler: Stepped once an inner step.
        outer_scheduler: Stepped once an outer step.
        inner: ``TaskWeightProblem`` or a subclass of it.
        outer: ``AttentionProblem`` or a subclass of it.
        unroll_steps: Inner steps for each outer step; the hypergradient goes through the last.
        gradient_accumulation: Micro-batches of the inner loader for each inner step.
        gradient_clipping: Largest norm of the gradient by all of W; 0: no clipping.
        precision: ``"fp32"``, ``"bf16"`` (autocast) or ``"fp16"`` (autocast with scaling, CUDA).
        roll_back: Undo the inner step after the outer one and take it again with the new alpha.
        validate: See :class:`MixupEngine`.
        valid_step: Inner steps between validations.
        phase: Name of this run in the progress bar.
        progress: Show the bar; None: only on a terminal.
        checkpoint: File to write the state to.
        checkpoint_step: Inner steps between checkpoints; rounded up to a whole outer step.
        log: Called as ``log(step, numbers)``: losses, rates, norms of direct and indirect term, mean and
            spread of alpha, also by weight.
        log_step: Inner steps between its calls.

    Returns:
        The engine; ``engine.run()`` runs it. A search that takes no outer step, or whose two loaders are
        one object, is a warning.

    Raises:
        ConfigError: If a setting is wrong, or an optimizer holds no parameter of its problem.
        HypergradientError: If ``best_response='optimizer'`` does not know the inner optimizer.
        ModelError: If the mixup is off its model, or W is in half precision.

    Example:
        >>> from agwm.mixing.injection import inject
        >>> from agwm.testing import batch, pretrained
        >>> model, split = pretrained("bert").model, [batch(), batch()]
        >>> mixup = inject(model, seed=0)
        >>> inner = torch.optim.AdamW(model.parameters(), lr=1e-4)
        >>> outer = torch.optim.AdamW(mixup.attention.parameters(), lr=1e-2)
        >>> engine = build_engine(mixup, split[:1], split[1:], inner, outer, train_iters=4, progress=False)
        >>> engine.run()
        >>> engine.step
        4
    """
    settings = Hypergradient.of(hypergradient)
    device = next(mixup.model.parameters()).device
    for name, count in {
        "train_iters": train_iters,
        "unroll_steps": unroll_steps,
        "gradient_accumulation": gradient_accumulation,
        "valid_step": valid_step,
        "checkpoint_step": checkpoint_step,
        "log_step": log_step,
    }.items():
        check_value(name, Count, count)
    if unroll_steps > train_iters and any(p.requires_grad for p in mixup.attention.parameters()):
        warnings.warn(f"{DOUBTFUL}: {never_learned(unroll_steps, train_iters)}", AgwmWarning, stacklevel=2)
    if inner_loader is outer_loader:
        warnings.warn(
            f"{DOUBTFUL}: inner and outer loader are one object: the outer loss is not held out.",
            AgwmWarning,
            stacklevel=2,
        )
    check_precision(precision, device)
    check_value("gradient_clipping", NonNegative, gradient_clipping, "Use 0 for no clipping.")
    mixup.follow_model_()
    inner_problem = inner(
        mixup,
        inner_loader,
        inner_optimizer,
        inner_scheduler,
        HypergradientConfig(
            hypergradient=settings,
            unroll_steps=unroll_steps,
            gradient_accumulation=gradient_accumulation,
            gradient_clipping=gradient_clipping,
            precision=precision,
        ),
    )
    outer_problem = outer(
        mixup,
        outer_loader,
        outer_optimizer,
        outer_scheduler,
        Config(type=HYPERGRADIENT_TYPE, precision=precision),
    )
    config = EngineConfig(
        train_iters=train_iters * gradient_accumulation,
        valid_step=valid_step * gradient_accumulation,
        roll_back=roll_back,
    )
    return MixupEngine(
        inner_problem,
        outer_problem,
        config,
        validate,
        phase,
        progress,
        checkpoint,
        checkpoint_step,
        log,
        log_step,
    )
