"""The first stage of the recipe: K searches on splits of their own, and their averages."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from agwm.checkpoints import Checkpoints
from agwm.errors import AgwmWarning
from agwm.mixing.alpha import Attention
from agwm.mixing.injection import inject
from agwm.mixing.mixup import Mixup
from agwm.processes import part_ways
from agwm.recipe.averaging import Mean, averaged
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.inner_loss import MeanLoss
from agwm.recipe.search_doubts import DOUBTFUL
from agwm.recipe.snapshot import Snapshot
from agwm.recipe.splits import draw_parts, num_search_steps
from agwm.rng import seed_everything
from agwm.scores import plain_scores
from agwm.search.engine import Log, MixupEngine
from agwm.search.problems import AttentionProblem, TaskWeightProblem
from agwm.search.wiring import build_engine
from agwm.training.hooks import make_optimizer
from agwm.training.loop import Collate, Evaluate, check_whole_steps, make_loader, make_scheduler

__all__ = ["Search", "search_all"]


@dataclasses.dataclass(frozen=True)
class Search:
    """Arguments that all K searches share; see :func:`finetune`, and for ``log`` :func:`build_engine`."""

    dataset: Any
    outer_dataset: Any
    collate: Collate
    evaluate: Evaluate | None
    mean_loss: MeanLoss | None
    config: FinetuneConfig
    progress: bool | None
    inner: type[TaskWeightProblem]
    outer: type[AttentionProblem]
    given: Snapshot
    checkpoints: Checkpoints | None
    log: Log | None = None  # its steps count on from search to search
    log_step: int = 10


def search_all(
    model: nn.Module, search: Search, history: list[dict[str, Any]]
) -> tuple[TaskWeightProblem, Attention, int]:
    """Search K times, and leave the averages in the model and the mixup.

    Returns:
        The inner problem of the last search, the average start of alpha, and the number of inner steps.
    """
    config = search.config
    check_whole_steps(model, config.search)
    check_whole_steps(model, config.final)
    weights, factors, starts = Mean(), Mean(), Mean()
    num_steps = 0
    problem: TaskWeightProblem | None = None
    for k in range(config.search.num_resplits):
        if problem is not None:
            problem.mixup.remove()
            search.given.restore_tensors()
        mixup = inject(model, **dataclasses.asdict(config.mixing), seed=config.seed + k)
        starts.add(mixup.attention.parameters())
        with warnings.catch_warnings():  # it was said before the first search
            warnings.filterwarnings("ignore", DOUBTFUL, AgwmWarning)
            engine = _build(mixup, search, k)
        problem = engine._inner
        if search.mean_loss is not None:
            search.mean_loss.problem = problem
        engine.stage = None if search.checkpoints is None else search.checkpoints.stage(engine.phase)
        engine.run()
        num_steps += engine.step
        history += [{"phase": engine.phase, **record} for record in engine.history]
        for optimizer in (engine._inner.optimizer, engine._outer.optimizer):
            optimizer.state.clear()  # the problem is kept for its loss; moments are twice as large as W
        weights.add(averaged(model))
        factors.add(mixup.attention.parameters())
    problem = cast(TaskWeightProblem, problem)  # there is at least one search
    problem.num_micro_batches = 1  # one level needs no pass twice
    attention = problem.mixup.attention
    weights.write(averaged(model))
    factors.write(attention.parameters())
    initial = copy.deepcopy(attention)
    starts.write(initial.parameters())
    return problem, initial, num_steps


def _build(mixup: Mixup, given: Search, k: int) -> MixupEngine:
    """Build the engine of one search: its split, loaders, optimizers and schedules."""
    config, evaluate = given.config, given.evaluate
    search, seed = config.search, config.seed + k
    inner, outer = draw_parts(given.dataset, config, k, given.outer_dataset)
    seed_everything(seed)
    part_ways(seed)
    inner_loader = make_loader(inner, search.batch_size, given.collate, seed)
    outer_loader = make_loader(outer, search.batch_size, given.collate, seed + 1)
    num_steps = num_search_steps(search, len(inner))
    log = given.log
    if log is not None:
        log = partial(_log_of, log, k * num_steps)
    num_outer_steps = max(1, num_steps // search.unroll_steps)
    inner_optimizer = make_optimizer(mixup.model, search)
    outer_optimizer = torch.optim.AdamW(
        mixup.attention.parameters(),
        lr=search.attention_learning_rate,
        weight_decay=search.attention_weight_decay,
    )
    engine = build_engine(
        mixup,
        inner_loader,
        outer_loader,
        inner_optimizer,
        outer_optimizer,
        num_steps,
        config.hypergradient,
        inner_scheduler=make_scheduler(inner_optimizer, search.schedule, num_steps, search.warmup_ratio),
        outer_scheduler=make_scheduler(
            outer_optimizer, search.attention_schedule, num_outer_steps, search.warmup_ratio
        ),
        inner=given.inner,
        outer=given.outer,
        unroll_steps=search.unroll_steps,
        gradient_clipping=search.clipping,
        precision=search.precision,
        roll_back=search.roll_back,
        validate=_validation(evaluate) if evaluate is not None and search.evaluations else None,
        valid_step=max(1, num_steps // max(1, search.evaluations)),
        phase=f"search {k + 1}/{search.num_resplits}",
        progress=given.progress,
        log=log,
        log_step=given.log_step,
    )
    for problem in (engine._inner, engine._outer):
        problem.num_micro_batches = search.gradient_accumulation
    return engine


def _validation(evaluate: Evaluate) -> Any:
    return lambda engine: plain_scores(evaluate(engine._inner.model), "evaluate")


def _log_of(log: Log, before: int, step: int, numbers: Mapping[str, float]) -> None:
    log(before + step, numbers)
